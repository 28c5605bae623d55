//! The place of the tables in a document.

use anyhow::{Context, Result};

const BEGIN: &str = "<!-- cargo e2e bench proxy --write: begin -->\n";
const END: &str = "<!-- cargo e2e bench proxy --write: end -->\n";

/// Replaces what is between the markers.
pub(super) fn insert(document: &str, text: &str) -> Result<String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .with_context(|| format!("the document lacks the line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("the document lacks the line {END}"))?;
    Ok(format!("{before}{BEGIN}{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let document = format!("# Title\n{BEGIN}old\nlines\n{END}the rest\n");
        let new = insert(&document, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{BEGIN}new\n{END}the rest\n"));
        assert_eq!(insert(&new, "new\n").unwrap(), new);
        assert!(insert("no markers", "new").is_err());
        assert!(insert(BEGIN, "new").is_err());
    }
}
