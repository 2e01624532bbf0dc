//! The files of the web pages: what browsers would refuse by the policy of the server, what leaves the server, and bytes.

use std::collections::BTreeSet;

use roomcast::pages::{PAGES, Page, page as page_at};

/// Compressed bytes of everything that the chat needs before it shows something.
const FIRST_LOAD_BYTES_MAX: usize = 50_000;

/// The name of a language, which nobody loads.
const SVG_NAMESPACE: &str = "http://www.w3.org/2000/svg";

fn text(page: &Page) -> &'static str {
    std::str::from_utf8(page.bytes).expect("pages are text")
}

fn documents() -> impl Iterator<Item = &'static Page> {
    PAGES.iter().filter(|page| page.media_type.starts_with("text/html"))
}

/// The tags of a document, each with the text up to the next.
fn tags(html: &str) -> Vec<(&str, &str)> {
    let pieces = html.split('<').skip(1).filter(|piece| !piece.starts_with(['/', '!']));
    pieces.map(|piece| piece.split_once('>').expect("a tag that ends")).collect()
}

/// The attributes of a tag with their values.
fn attributes(tag: &str) -> Vec<(&str, &str)> {
    let mut parts = tag.split('"');
    let mut found = Vec::new();
    while let Some(before) = parts.next() {
        assert!(!before.contains('\''), "values stand in double quotes: {tag}");
        let mut names = before.split_whitespace().collect::<Vec<_>>();
        let named = names.pop_if(|name| name.ends_with('='));
        found.extend(names.into_iter().map(|name| (name, "")));
        found.extend(named.map(|name| (name.trim_end_matches('='), parts.next().expect("a value that ends"))));
    }
    // The first is the name of the tag.
    found.split_off(1)
}

/// A file without block comments, in which types are named by where they lie in the source.
fn without_comments(page: &Page) -> String {
    let mut parts = text(page).split("/*");
    let first = parts.next().expect("a part").to_owned();
    parts.fold(first, |before, part| before + part.split_once("*/").expect("a comment that ends").1)
}

/// The files that a file names in quotes.
fn named_files(page: &Page) -> Vec<&'static Page> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let is_file = |word: &&str| {
        [".css", ".js", ".svg"].iter().any(|end| word.ends_with(end)) && !word.contains(char::is_whitespace)
    };
    let code = without_comments(page);
    let named = code.split(['"', '\'', '`', '(', ')']).filter(is_file);
    named
        .filter_map(|word| {
            let path = match (word.strip_prefix("./"), word.strip_prefix("../")) {
                (Some(rest), _) => format!("{folder}/{rest}"),
                (_, Some(rest)) => format!("{}/{rest}", folder.rsplit_once('/').map_or("", |(folder, _)| folder)),
                _ if word.starts_with('/') => word.to_owned(),
                _ => return None,
            };
            Some(page_at(&path).unwrap_or_else(|| panic!("{} names {word}, which is not there", page.path)))
        })
        .collect()
}

/// A file and everything that it names, and so on.
fn loaded_with(first: &'static Page) -> BTreeSet<&'static str> {
    let mut paths = BTreeSet::new();
    let mut found = vec![first];
    while let Some(page) = found.pop() {
        if paths.insert(page.path) {
            found.extend(named_files(page));
        }
    }
    paths
}

#[test]
fn both_pages_and_the_module_have_their_paths_and_all_other_files_are_below_one() {
    let own: Vec<&str> = PAGES.iter().map(|page| page.path).filter(|path| !path.starts_with("/pages/")).collect();
    assert_eq!(own, ["/", "/dashboard", "/roomcast.js"]);
    assert_eq!(documents().map(|page| page.path).collect::<Vec<_>>(), ["/", "/dashboard"]);
    let paths: BTreeSet<&str> = PAGES.iter().map(|page| page.path).collect();
    assert_eq!(paths.len(), PAGES.len(), "each path once");
    assert!(page_at("/pages/mod.rs").is_none() && page_at("").is_none() && page_at("/pages/").is_none());
}

#[test]
fn no_document_has_a_script_or_a_style_inside() {
    for page in documents() {
        for (tag, behind) in tags(text(page)) {
            let name = tag.split_whitespace().next().expect("a name");
            assert_ne!(name, "style", "{}", page.path);
            let attributes = attributes(tag);
            for (attribute, _) in &attributes {
                assert!(*attribute != "style" && !attribute.starts_with("on"), "{}: <{tag}>", page.path);
            }
            let has_source = attributes.iter().any(|(attribute, _)| *attribute == "src");
            assert!(name != "script" || has_source && behind.is_empty(), "{}: <{tag}>", page.path);
        }
    }
}

#[test]
fn no_file_names_another_server() {
    for page in PAGES {
        let text = text(page).replace(SVG_NAMESPACE, "");
        for scheme in ["http://", "https://"] {
            assert!(!text.contains(scheme), "{} has {scheme}", page.path);
        }
    }
    for page in documents() {
        for (tag, _) in tags(text(page)) {
            for (_, target) in
                attributes(tag).into_iter().filter(|(name, _)| matches!(*name, "src" | "href" | "action"))
            {
                let is_here = target.starts_with('#') || target.starts_with('/') && !target.starts_with("//");
                assert!(is_here, "{}: <{tag}>", page.path);
            }
        }
    }
}

#[test]
fn what_the_chat_loads_at_first_is_small() {
    let chat = loaded_with(page_at("/").expect("the chat"));
    for needed in ["/", "/roomcast.js", "/pages/base.css"] {
        assert!(chat.contains(needed), "{chat:?}");
    }
    let bytes: usize = chat.iter().filter_map(|path| page_at(path)).map(|page| page.gzip.len()).sum();
    assert!(bytes <= FIRST_LOAD_BYTES_MAX, "{bytes} bytes: {chat:?}");
}

#[test]
fn every_file_is_named_by_a_document_or_by_a_file_that_one_loads() {
    let loaded: BTreeSet<&str> = documents().flat_map(loaded_with).collect();
    let all: BTreeSet<&str> = PAGES.iter().map(|page| page.path).collect();
    assert_eq!(all, loaded);
}

#[test]
fn the_checks_of_documents_see_what_is_wrong() {
    let html = r#"<!doctype html><p class="a b" hidden onclick="go()">x</p><script>go()</script>"#;
    let tags = tags(html);
    assert_eq!(tags, [(r#"p class="a b" hidden onclick="go()""#, "x"), ("script", "go()")]);
    assert_eq!(attributes(tags[0].0), [("class", "a b"), ("hidden", ""), ("onclick", "go()")]);
}
