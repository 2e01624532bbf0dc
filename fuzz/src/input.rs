//! How the targets divide an input: choices in front, and then the bytes of a stranger, perhaps in chunks.

/// The first bytes of an input, for choices of the target, and the rest. A byte that is not there is 0.
pub fn choices<const COUNT: usize>(input: &[u8]) -> ([u8; COUNT], &[u8]) {
    let (front, rest) = input.split_at(COUNT.min(input.len()));
    let mut choices = [0; COUNT];
    choices[..front.len()].copy_from_slice(front);
    (choices, rest)
}

/// The bytes in the chunks in which a network may deliver them: `lengths` in turn, each for a chunk that is one byte
/// longer.
pub fn chunks<const COUNT: usize>(lengths: [u8; COUNT], mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut chunks = Vec::new();
    for length in lengths.into_iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (chunk, rest) = bytes.split_at(bytes.len().min(usize::from(length) + 1));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}
