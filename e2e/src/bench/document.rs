//! Where figures are kept: in files, and in the place of their tables in a document.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Puts what a command has measured into its place in a document.
pub(super) fn write(document: &Path, command: &str, text: &str) -> Result<()> {
    let old = fs::read_to_string(document).with_context(|| format!("cannot read {}", document.display()))?;
    save(document, &insert(&old, command, text)?)?;
    eprintln!("wrote {}", document.display());
    Ok(())
}

/// Writes a file, and makes its folder.
pub(super) fn save(file: &Path, text: &str) -> Result<()> {
    let folder = file.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Replaces what is between the markers of a command.
fn insert(document: &str, command: &str, text: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|which| format!("<!-- {command}: {which} -->\n"));
    let lacks = |line: &str| format!("the document lacks the line {line}");
    let (before, rest) = document.split_once(&begin).with_context(|| lacks(&begin))?;
    let (_, after) = rest.split_once(&end).with_context(|| lacks(&end))?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- measure --write: begin -->\n";
    const END: &str = "<!-- measure --write: end -->\n";

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let insert = |document: &str, text: &str| insert(document, "measure --write", text);
        let other = "<!-- other --write: begin -->\nkept\n<!-- other --write: end -->\n";
        let document = format!("# Title\n{other}{BEGIN}old\nlines\n{END}the rest\n");
        let new = insert(&document, "new\n").unwrap();
        assert_eq!(new, format!("# Title\n{other}{BEGIN}new\n{END}the rest\n"));
        assert_eq!(insert(&new, "new\n").unwrap(), new);
        assert!(insert("no markers", "new").is_err());
        assert!(insert(BEGIN, "new").is_err());
    }
}
