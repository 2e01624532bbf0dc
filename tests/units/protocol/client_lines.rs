//! The input of line clients, with telnet commands in it.

use roomcast::protocol::client_lines::ClientLines;
use roomcast::protocol::lines::DecodedLine;

/// What was read of the first line of the input, in these chunks: the line, or the debug text of anything else.
fn first_line(bytes_max: usize, chunks: &[&[u8]]) -> Result<Vec<u8>, String> {
    let (mut lines, mut tail) = (ClientLines::new(bytes_max), Vec::new());
    for chunk in chunks {
        let mut fresh = chunk.to_vec();
        let kept = lines.strip(&mut tail, &mut fresh);
        tail.extend_from_slice(&fresh[..kept]);
        match lines.next(&tail) {
            Ok(DecodedLine::More) => {}
            Ok(DecodedLine::Line(line)) => return Ok(line.bytes.to_vec()),
            other => return Err(format!("{other:?}")),
        }
    }
    Err("the line is incomplete".to_owned())
}

#[test]
fn a_telnet_command_within_the_end_of_a_line_is_no_part_of_it_wherever_it_is_cut() {
    let input = b"hello\r\xff\xf1\n";
    for at in 0..=input.len() {
        let (first, second) = input.split_at(at);
        assert_eq!(first_line(5, &[first, second]), Ok(b"hello".to_vec()), "cut at {at}");
    }
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    assert_eq!(first_line(5, &bytes), Ok(b"hello".to_vec()), "byte by byte");
}

#[test]
fn a_byte_that_proves_to_be_text_counts() {
    let refused = first_line(5, &[b"hello\xff", b"!\n"]).unwrap_err();
    assert!(refused.contains("LineTooLong"), "{refused}");
    let refused = first_line(9, &[b"hello\r\xff", b"!"]).unwrap_err();
    assert_eq!(refused, "Ok(LoneReturn(5))");
}
