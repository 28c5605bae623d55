//! The forms that an annotation's value can have.

use std::collections::BTreeMap;

/// Items between commas, without white space around them and without empty ones.
pub(super) fn list(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}

/// The spellings of a truth value that Go's `strconv.ParseBool` takes.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `key=value` pairs between commas. A comma ends a pair only where a `=` follows somewhere behind it, so that values can have commas in
/// them; a backslash takes away the meaning of what follows it.
pub(super) fn map(text: &str) -> Option<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    if text.trim().is_empty() {
        return Some(pairs);
    }
    let mut key: Option<String> = None;
    let mut part = String::new();
    let mut characters = text.char_indices();
    let mut finish = |key: &mut Option<String>, part: &mut String| {
        let value = part.trim().to_owned();
        part.clear();
        let key = key.take().filter(|key| !key.is_empty())?;
        pairs.insert(key, value);
        Some(())
    };
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => part.extend(characters.next().map(|(_, escaped)| escaped)),
            '=' if key.is_none() => {
                key = Some(part.trim().to_owned());
                part.clear();
            }
            ',' if text[at + 1..].contains('=') => finish(&mut key, &mut part)?,
            other => part.push(other),
        }
    }
    finish(&mut key, &mut part)?;
    Some(pairs)
}

/// Items as Go prints a list of them.
pub(crate) fn go_list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_trimmed_and_have_no_empty_items() {
        assert_eq!(list(" a, b ,,c,"), ["a", "b", "c"]);
        assert_eq!(list(" , "), [""; 0]);
    }

    #[test]
    fn booleans_are_those_of_go() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", "yes", "on", "tRUE", " true"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn maps_are_read_by_the_rules_of_the_contract() {
        let cases: &[(&str, Option<Pairs<'_>>)] = &[
            ("", Some(&[])),
            ("a=b", Some(&[("a", "b")])),
            ("a=b,c=d", Some(&[("a", "b"), ("c", "d")])),
            (" a = b , c = d ", Some(&[("a", "b"), ("c", "d")])),
            ("a=", Some(&[("a", "")])),
            ("a=b=c", Some(&[("a", "b=c")])),
            ("a=b,", Some(&[("a", "b,")])),
            ("a=b,c", Some(&[("a", "b,c")])),
            (r"a\=b=c", Some(&[("a=b", "c")])),
            (r"a=b\,c=d", Some(&[("a", "b,c=d")])),
            (r"a=b\\", Some(&[("a", r"b\")])),
            ("a=b,c,d=e", None),
            ("a", None),
            ("=b", None),
            ("a=b,=c", None),
        ];
        for (text, expected) in cases {
            let expected =
                expected.map(|pairs| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
            assert_eq!(map(text), expected, "{text}");
        }
    }
}
