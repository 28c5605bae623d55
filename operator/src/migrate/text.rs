//! What is printed: YAML with comments, and a summary for people.

use std::fmt::Write as _;

use anyhow::Context;
use kube::ResourceExt;
use serde::Serialize;

use super::convert::Migration;
use super::note::{Note, Weight};
use crate::terminal::{Paint, Style};

/// Comments are broken here.
const WIDTH: usize = 120;

/// The objects, each below what is to be told about it.
pub(super) fn yaml(migration: &Migration) -> anyhow::Result<String> {
    let mut text = comment("", "Made of MetalLB's objects by `fairlead migrate metallb`.");
    let general = migration.notes.iter().filter(|note| note.pools.is_empty());
    text += &document(&migration.provider, general)?;
    for pool in &migration.pools {
        let name = pool.name_any();
        let about = migration.notes.iter().filter(|note| note.pools.contains(&name));
        text += "---\n";
        text += &document(pool, about)?;
    }
    Ok(text)
}

fn document<'a>(object: &impl Serialize, notes: impl Iterator<Item = &'a Note>) -> anyhow::Result<String> {
    let mut text = String::new();
    for note in notes {
        text += &comment("- ", &format!("{}: {note}", note.weight));
    }
    Ok(text + &serde_saphyr::to_string(object).context("cannot write YAML")?)
}

/// One sentence as lines of a comment.
fn comment(bullet: &str, sentence: &str) -> String {
    let mut text = String::new();
    let indent = " ".repeat(bullet.len());
    let mut line = format!("# {bullet}");
    let mut is_empty = true;
    for word in sentence.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text += &line;
            text.push('\n');
            line = format!("# {indent}");
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += word;
        is_empty = false;
    }
    text + &line + "\n"
}

/// All that is to be told, the worst last: it is what stays in sight.
pub(super) fn summary(migration: &Migration, paint: Paint) -> String {
    let mut text = String::new();
    for (weight, style) in [(Weight::Differs, Style::Strong), (Weight::Lost, Style::Bad)] {
        let notes: Vec<_> = migration.notes.iter().filter(|note| note.weight == weight).collect();
        if notes.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{}", paint.paint(style, &format!("{weight}:")));
        for note in notes {
            let _ = writeln!(text, "  {note}");
        }
    }
    let tally = migration.tally;
    let services = match tally.all {
        0 => "no Service has an address".to_owned(),
        1 if tally.keep == 1 => "the one Service that has an address keeps it".to_owned(),
        1 => "the one Service that has an address does not keep it".to_owned(),
        all if tally.keep == all => format!("all {all} Services that have addresses keep them"),
        all => format!(
            "of {all} Services that have addresses {} would not keep them",
            all - tally.keep
        ),
    };
    let pools = match migration.pools.len() {
        1 => "1 pool".to_owned(),
        count => format!("{count} pools"),
    };
    text + &format!("{pools}; {services}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_comment_is_broken_between_words() {
        let sentence = ["seventeen-letters"; 8].join(" ");
        let text = comment("- ", &sentence);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(
            lines[0].starts_with("# - seventeen") && lines[1].starts_with("#   seventeen"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= WIDTH));
        assert_eq!(comment("", "short"), "# short\n");
    }
}
