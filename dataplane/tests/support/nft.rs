//! The `nft` program as the judge of what we write.

use std::io::Write;
use std::process::{Command, Stdio};

/// Runs nft in this thread's network namespace and returns what it prints.
pub(crate) fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("nft is installed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "nft {arguments:?} fails ({}): {errors}",
        output.status
    );
    String::from_utf8(output.stdout).expect("nft prints UTF-8")
}

/// What nft says when it is refused.
pub(crate) fn nft_refusal(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("nft is installed");
    assert!(!output.status.success(), "nft {arguments:?} was expected to be refused");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Loads nft text.
pub(crate) fn nft_load(text: &str) {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nft is installed");
    child
        .stdin
        .take()
        .expect("stdin is piped")
        .write_all(text.as_bytes())
        .expect("nft reads its input");
    let output = child.wait_with_output().expect("nft ends");
    assert!(
        output.status.success(),
        "nft refuses: {}\n{text}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The lines of a listing, in an order that does not depend on that of creation and of hashing. Each element has its line.
pub(crate) fn sorted_lines(listing: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut object = "";
    for line in listing.lines().map(str::trim) {
        if line.ends_with('{') && !line.starts_with("elements") {
            object = line;
        }
        let line = line.trim_start_matches("elements = {").trim_end_matches('}').trim();
        // nft puts short elements on one line.
        for part in line.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            lines.push(format!("{object} {part}"));
        }
    }
    lines.sort();
    lines
}
