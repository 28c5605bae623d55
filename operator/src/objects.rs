//! Kubernetes objects of files, of whatever kind: for commands that look at them once.
//!
//! What reads them later says which object and which field is wrong; this module says which file and which line.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::source::manifest::yaml_options;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// `apiVersion`
    pub api_version: String,
    /// `kind`
    pub kind: String,
    /// All of it.
    pub value: Value,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, as in `spec.addresses[1]`; empty if it is the object as a whole.
    pub field: String,
    /// What is wrong.
    pub problem: String,
}

/// Files that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// The file or folder is not there, or not for us.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A folder without any file that could hold objects.
    #[error("folder {path} has no files that end in .yaml, .yml or .json")]
    Empty {
        /// Which.
        path: String,
    },
    /// The text is no YAML.
    #[error("{file}: {problem}")]
    Syntax {
        /// The file, and where it is known the line and the column.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A document is no object.
    #[error("{file}: document {document}: {problem}")]
    NoObject {
        /// The file.
        file: String,
        /// Which document, counted from 1.
        document: usize,
        /// What is wrong.
        problem: String,
    },
}

impl Object {
    /// `metadata.name`, or nothing.
    pub fn name(&self) -> &str {
        self.metadata("name")
    }

    /// `metadata.namespace`, or nothing.
    pub fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    fn metadata(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }

    /// Kind and name, as people say them: `IPAddressPool metallb-system/public`.
    pub fn describe(&self) -> String {
        match self.namespace() {
            "" => format!("{} {}", self.kind, self.name()),
            namespace => format!("{} {namespace}/{}", self.kind, self.name()),
        }
    }

    /// The API group; nothing for the core kinds.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// The object as a value of a type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_path_to_error::deserialize(&self.value).map_err(|error| Fault {
            field: match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            },
            problem: error.inner().to_string(),
        })
    }
}

/// Reads files, the files of folders, and standard input where a path is `-`.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Object>, ObjectsError> {
    let mut objects = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|source| unreadable(Path::new("standard input"), source))?;
            objects.extend(parse("standard input", &text)?);
            continue;
        }
        for file in files(path)? {
            let text = fs::read_to_string(&file).map_err(|source| unreadable(&file, source))?;
            objects.extend(parse(&file.display().to_string(), &text)?);
        }
    }
    Ok(objects)
}

fn unreadable(path: &Path, source: io::Error) -> ObjectsError {
    ObjectsError::Read {
        path: path.display().to_string(),
        source,
    }
}

/// The file itself, or those of the folder that can hold objects, in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, ObjectsError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|source| unreadable(path, source))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|source| unreadable(path, source))?.path();
        let has_objects = file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json");
        if has_objects && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(ObjectsError::Empty {
            path: path.display().to_string(),
        });
    }
    files.sort();
    Ok(files)
}

/// Reads the objects of a text: YAML with one or more documents, of which JSON is one. Lists are taken apart.
pub fn parse(file: &str, text: &str) -> Result<Vec<Object>, ObjectsError> {
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(text, yaml_options()).map_err(|error| {
        let message = error.without_snippet().to_string();
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        // Line 0 means that the parser does not know.
        let place = error.location().filter(|location| location.line() > 0);
        ObjectsError::Syntax {
            file: place.map_or_else(
                || file.to_owned(),
                |place| format!("{file}:{}:{}", place.line(), place.column()),
            ),
            problem: message.split(" at line ").next().unwrap_or_default().to_owned(),
        }
    })?;
    let mut objects = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        take_apart(document, None, &mut objects).map_err(|problem| ObjectsError::NoObject {
            file: file.to_owned(),
            document: index + 1,
            problem,
        })?;
    }
    Ok(objects)
}

/// An object, or the items of a list, which may go without kind and version if the list says them.
fn take_apart(mut value: Value, default: Option<(&str, &str)>, objects: &mut Vec<Object>) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let Some(fields) = value.as_object_mut() else {
        return Err("it is no object, but a single value or a list".to_owned());
    };
    if let Some((api_version, kind)) = default {
        fields.entry("apiVersion").or_insert_with(|| api_version.into());
        fields.entry("kind").or_insert_with(|| kind.into());
    }
    let word = |name: &str| match fields.get(name).and_then(Value::as_str) {
        Some(word) if !word.is_empty() => Ok(word.to_owned()),
        _ => Err(format!("{name} is missing")),
    };
    let (api_version, kind) = (word("apiVersion")?, word("kind")?);
    match (kind.strip_suffix("List"), fields.get_mut("items").map(Value::take)) {
        (Some(item_kind), Some(Value::Array(items))) => {
            let default = (!item_kind.is_empty()).then_some((api_version.as_str(), item_kind));
            for (index, item) in items.into_iter().enumerate() {
                take_apart(item, default, objects).map_err(|problem| format!("items[{index}]: {problem}"))?;
            }
        }
        (Some(_), Some(items)) if !items.is_null() => return Err("items: it is no list".to_owned()),
        (Some(_), Some(_)) => {}
        _ => objects.push(Object {
            api_version,
            kind,
            value,
        }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(text: &str) -> Vec<String> {
        let objects = parse("a.yaml", text).unwrap();
        objects.iter().map(Object::describe).collect()
    }

    #[test]
    fn documents_and_lists_become_objects() {
        let text = "---\n\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: List\nitems:\n\
                    - {apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}}\n---\n\
                    apiVersion: metallb.io/v1beta1\nkind: IPAddressPoolList\nitems: [{metadata: {name: public}}]\n---\n\
                    {\"apiVersion\": \"v1\", \"kind\": \"ServiceList\", \"items\": null}\n";
        assert_eq!(
            described(text),
            ["Namespace shop", "Service shop/web", "IPAddressPool public"]
        );
        assert_eq!(parse("a", text).unwrap()[2].group(), "metallb.io");
    }

    #[test]
    fn what_is_no_object_is_told_with_its_place() {
        let error = |text| parse("a.yaml", text).unwrap_err().to_string();
        assert!(
            error("a: [1\nb: 2").starts_with("a.yaml:2:"),
            "{}",
            error("a: [1\nb: 2")
        );
        assert_eq!(
            error("---\n- 1\n"),
            "a.yaml: document 1: it is no object, but a single value or a list"
        );
        assert_eq!(
            error("{apiVersion: v1, kind: List, items: [{apiVersion: v1}]}"),
            "a.yaml: document 1: items[0]: kind is missing"
        );
    }

    #[test]
    fn folders_are_read_and_empty_ones_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(
            error.ends_with("has no files that end in .yaml, .yml or .json"),
            "{error}"
        );
        for (name, kind) in [("b.yml", "B"), ("a.yaml", "A"), ("c.json", "C")] {
            fs::write(
                folder.path().join(name),
                format!("{{\"apiVersion\": \"v1\", \"kind\": \"{kind}\"}}"),
            )
            .unwrap();
        }
        fs::write(folder.path().join("d.txt"), "no YAML: [").unwrap();
        let kinds: Vec<_> = read(&[folder.path().to_owned()])
            .unwrap()
            .into_iter()
            .map(|object| object.kind)
            .collect();
        assert_eq!(kinds, ["A", "B", "C"]);
        let error = read(&[folder.path().join("none.yaml")]).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        let object = &parse("a", "{apiVersion: v1, kind: Service, spec: {ports: [{port: http}]}}").unwrap()[0];
        let fault = object.read::<k8s_openapi::api::core::v1::Service>().unwrap_err();
        assert_eq!(fault.field, "spec.ports[0].port");
    }
}
