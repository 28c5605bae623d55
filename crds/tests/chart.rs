//! The definitions that are checked in, in the chart `fairlead-crds`, are those of the types.
//!
//! `UPDATE=1 cargo test -p fairlead-crds --test chart` writes them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs};

use fairlead_crds::{GROUP, all, to_yaml};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

const HEAD: &str = "# Made from the types in crds/. UPDATE=1 cargo test -p fairlead-crds --test chart\n";

fn templates() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts/fairlead-crds/templates")
}

fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}.yaml", definition.spec.names.plural)
}

#[test]
fn the_chart_has_the_definitions_of_the_types() {
    let update = env::var_os("UPDATE").is_some();
    for definition in all() {
        let path = templates().join(file_name(&definition));
        let made = format!("{HEAD}{}", to_yaml(&definition));
        if update {
            fs::write(&path, &made).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == made,
            "{} is not what the types say; UPDATE=1 writes it",
            path.display()
        );
    }
}

#[test]
fn the_chart_has_nothing_else() {
    let expected: BTreeSet<String> = all().iter().map(file_name).collect();
    let found: BTreeSet<String> = fs::read_dir(templates())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_definition_read_back_from_its_file_is_the_same() {
    for definition in all() {
        let read: CustomResourceDefinition = serde_saphyr::from_str(&to_yaml(&definition)).unwrap();
        assert_eq!(read, definition);
        assert_eq!(read.spec.group, GROUP);
    }
}

#[test]
fn helm_finds_nothing_to_replace() {
    for definition in all() {
        let text = to_yaml(&definition);
        assert!(!text.contains("{{"), "{}", definition.spec.names.kind);
    }
}

/// Every field in the schema, with its path.
fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
    visit(path, schema);
    for (name, field) in schema.properties.iter().flatten() {
        walk(&format!("{path}.{name}"), field, visit);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        walk(&format!("{path}[]"), items, visit);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        walk(&format!("{path}{{}}"), values, visit);
    }
}

#[test]
fn every_field_is_explained_and_known_to_the_api_server() {
    for definition in all() {
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        let kind = &definition.spec.names.kind;
        let mut fields = 0;
        walk(kind, schema.open_api_v3_schema.as_ref().unwrap(), &mut |path, field| {
            fields += 1;
            let is_value = path.ends_with("[]") || path.ends_with("{}");
            let is_envelope = ["apiVersion", "kind", "metadata"]
                .iter()
                .any(|name| path == format!("{kind}.{name}"));
            assert!(
                is_value || is_envelope || field.description.is_some(),
                "{path} is not explained"
            );
            assert_eq!(field.nullable, None, "{path}");
            assert!(
                matches!(field.format.as_deref(), None | Some("int32" | "int64" | "date-time")),
                "{path} has the format {:?}",
                field.format
            );
        });
        assert!(fields > 10, "{kind} has {fields} fields");
    }
}
