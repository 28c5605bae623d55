//! The definitions of the kinds, as the API server takes them and as files.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::{AddressPool, LoadBalancer, LoadBalancerProvider};

/// The definitions of all kinds.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![LoadBalancerProvider::crd(), AddressPool::crd(), LoadBalancer::crd()];
    for definition in &mut definitions {
        // Objects go with the definition of their kind: helm must not take it along.
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
        for version in &mut definition.spec.versions {
            let validation = version.schema.as_mut().expect("every version has a schema");
            adapt(
                validation
                    .open_api_v3_schema
                    .as_mut()
                    .expect("every version has a schema"),
            );
        }
    }
    definitions
}

/// The definition as a file.
pub fn to_yaml(definition: &CustomResourceDefinition) -> String {
    serde_saphyr::to_string(definition).expect("a definition is made of maps, lists and scalars")
}

/// What an API server wants otherwise in a schema.
fn adapt(schema: &mut JSONSchemaProps) {
    // A field that is null is then dropped, as if it were missing, and its default takes effect.
    schema.nullable = None;
    // It warns of formats that it does not know. Their bounds are in `minimum` and `maximum` too.
    if schema.format.as_ref().is_some_and(|format| format.starts_with("uint")) {
        schema.format = None;
    }
    // Comments are wrapped for the width of the source, explanations for that of the terminal.
    if let Some(description) = &mut schema.description {
        let paragraphs = description.split("\n\n").map(|paragraph| paragraph.replace('\n', " "));
        *description = paragraphs.collect::<Vec<_>>().join("\n\n");
    }
    if let Some(properties) = &mut schema.properties {
        properties.values_mut().for_each(adapt);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(schema)) => adapt(schema),
        Some(JSONSchemaPropsOrArray::Schemas(schemas)) => schemas.iter_mut().for_each(adapt),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &mut schema.additional_properties {
        adapt(schema);
    }
}
