//! Where in a file something is. Only used once an error is found, so it may take its time.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Line and column in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// The position after a text.
    pub(super) fn after(text: &str) -> Self {
        let line = text.rsplit('\n').next().unwrap_or_default();
        Self {
            line: text.split('\n').count() as u64,
            column: line.chars().count() as u64 + 1,
        }
    }

    fn from_location(location: serde_saphyr::Location) -> Option<Self> {
        // Line 0 means that the parser does not know.
        (location.line() > 0).then(|| Self {
            line: location.line(),
            column: location.column(),
        })
    }
}

/// A folder may hold one file with every Service of a large cluster, so the limits on size are wide; those on nesting
/// and on aliases, which make little text into much data, are narrow.
pub(crate) fn yaml_options() -> serde_saphyr::Options {
    const WIDE: usize = 1 << 30;
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: WIDE,
            max_nodes: WIDE,
            max_documents: WIDE,
            max_total_scalar_bytes: WIDE,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        emit_comments: false,
        with_snippet: false,
    }
}

/// Where the YAML parser stopped.
pub(super) fn position_of(error: &serde_saphyr::Error) -> Option<Position> {
    error.location().and_then(Position::from_location)
}

/// What the YAML parser says, in one line and without the position that it repeats.
pub(super) fn message_of(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    message.split(" at line ").next().unwrap_or_default().to_owned()
}

/// Where the field with this path is, or the closest of its parents that exists.
pub(super) fn position_of_path(text: &str, document: usize, path: &str) -> Option<Position> {
    let documents: Vec<Spanned<Tree>> = serde_saphyr::from_multiple_with_options(text, yaml_options()).ok()?;
    let mut node = documents.get(document)?;
    let mut rest = path;
    loop {
        let step = match &node.value {
            Tree::Mapping(entries) => {
                // A key may have dots in it, so the longest one that fits is meant.
                let fitting = entries.iter().filter_map(|(key, child)| {
                    let bracketed = || rest.strip_prefix('[')?.strip_prefix(key.as_str())?.strip_prefix(']');
                    let after = bracketed().or_else(|| rest.strip_prefix(key.as_str()))?;
                    let ends = after.is_empty() || after.starts_with(['.', '[']);
                    (ends && !key.is_empty()).then(|| (key.len(), child, after.strip_prefix('.').unwrap_or(after)))
                });
                fitting
                    .max_by_key(|(length, ..)| *length)
                    .map(|(_, child, after)| (child, after))
            }
            Tree::Sequence(items) => rest.strip_prefix('[').and_then(|rest| {
                let (index, after) = rest.split_once(']')?;
                Some((
                    items.get(index.parse::<usize>().ok()?)?,
                    after.strip_prefix('.').unwrap_or(after),
                ))
            }),
            Tree::Scalar => None,
        };
        match step {
            Some((child, after)) => (node, rest) = (child, after),
            None => return Position::from_location(node.referenced),
        }
    }
}

/// A document's shape, with positions.
enum Tree {
    Mapping(Vec<(String, Spanned<Tree>)>),
    Sequence(Vec<Spanned<Tree>>),
    Scalar,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Tree, E> {
            Ok(Tree::Scalar)
        })*
    };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64);
    scalars!(visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Mapping(entries))
    }
}

/// Which object and field a line probably belongs to, judged by indentation: after a syntax error there is no tree to ask.
pub(super) fn surroundings(text: &str, line: u64) -> (Option<String>, Option<String>) {
    let line = usize::try_from(line).unwrap_or(usize::MAX);
    let lines: Vec<&str> = text.lines().collect();
    let at = line.saturating_sub(1).min(lines.len().saturating_sub(1));
    let is_separator = |line: &&str| line.starts_with("---");
    let start = lines
        .iter()
        .take(at)
        .rposition(is_separator)
        .map_or(0, |separator| separator + 1);
    let end = lines
        .iter()
        .skip(at + 1)
        .position(is_separator)
        .map_or(lines.len(), |offset| at + 1 + offset);
    let Some(document) = lines.get(start..end) else {
        return (None, None);
    };
    (object_of(document), field_of(document, at - start))
}

/// The key and value of a line such as `  - name: web`, with the key's indentation.
fn key_of(line: &str) -> Option<(usize, &str, &str)> {
    let mut body = line.trim_start();
    while let Some(rest) = body.strip_prefix("- ") {
        body = rest.trim_start();
    }
    let indentation = line.len() - body.len();
    let (key, value) = body.split_once(':')?;
    let key = key.trim_matches(['"', '\'']);
    let is_word = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let ends = value.is_empty() || value.starts_with(char::is_whitespace);
    (is_word && ends).then(|| (indentation, key, value.trim().trim_matches(['"', '\'', ',', ' '])))
}

fn object_of(document: &[&str]) -> Option<String> {
    let keys: Vec<_> = document.iter().filter_map(|line| key_of(line)).collect();
    // JSON is indented from the first key on.
    let top = keys.iter().map(|(indent, ..)| *indent).min()?;
    let value_at_top = |wanted: &str| keys.iter().find(|(indent, key, _)| *indent == top && *key == wanted);
    let kind = value_at_top("kind")
        .map(|(_, _, value)| *value)
        .filter(|kind| !kind.is_empty())?;
    let metadata = keys
        .iter()
        .skip_while(|(indent, key, _)| !(*indent == top && *key == "metadata"))
        .skip(1);
    let within: Vec<_> = metadata.take_while(|(indent, ..)| *indent > top).collect();
    let depth = within.first().map_or(0, |(indent, ..)| *indent);
    let value = |wanted: &str| {
        within
            .iter()
            .find(|(indent, key, _)| *indent == depth && *key == wanted)
            .map(|(_, _, value)| *value)
    };
    Some(match (value("namespace"), value("name")) {
        (_, None) => kind.to_owned(),
        (None, Some(name)) if matches!(kind, "Node" | "ServiceCIDR") => format!("{kind} {name}"),
        (namespace, Some(name)) => format!("{kind} {}/{name}", namespace.unwrap_or("default")),
    })
}

/// The keys that enclose a line, outermost first.
fn field_of(document: &[&str], at: usize) -> Option<String> {
    let mut path = Vec::new();
    let mut depth = usize::MAX;
    for (indentation, key, _) in document.iter().take(at + 1).rev().filter_map(|line| key_of(line)) {
        if indentation < depth {
            path.push(key);
            depth = indentation;
        }
    }
    path.reverse();
    (!path.is_empty()).then(|| path.join("."))
}
