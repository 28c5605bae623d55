use std::collections::BTreeMap;
use std::str::FromStr;

use super::annotation::PREFIX;
use super::{Fault, Faults, Service, value};

/// Reads annotations of one Service and collects what is wrong with them.
pub(crate) struct Reader<'a> {
    pub(crate) service: &'a Service,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(service: &'a Service) -> Self {
        Self {
            service,
            faults: Vec::new(),
        }
    }

    /// The value, if nothing was wrong with the Service.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, Faults> {
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(Faults(self.faults))
        }
    }

    /// Something is wrong with this annotation.
    pub(crate) fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.fault_at(format!("annotation {PREFIX}{name}"), message);
    }

    /// Something is wrong there.
    pub(crate) fn fault_at(&mut self, place: impl Into<String>, message: impl Into<String>) {
        let fault = Fault {
            service: self.service.name.clone(),
            place: place.into(),
            message: message.into(),
        };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.service
            .annotations
            .get(&format!("{PREFIX}{name}"))
            .map(String::as_str)
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        self.text(name).map(value::list).unwrap_or_default()
    }

    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        self.parsed("bool", name, text, value::boolean(text))
    }

    pub(super) fn map(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some(text) = self.text(name) else {
            return BTreeMap::new();
        };
        self.parsed("stringMap", name, text, value::map(text))
            .unwrap_or_default()
    }

    /// A whole number from `least` to `most`, which are the bounds that AWS has.
    pub(super) fn number(&mut self, name: &str, least: i32, most: i32) -> Option<i32> {
        let text = self.text(name)?;
        let number = self.parsed("int32", name, text, i32::from_str(text).ok())?;
        if !(least..=most).contains(&number) {
            self.fault(name, format!("{number} is not from {least} to {most}"));
        }
        Some(number)
    }

    /// The annotations of this name with a suffix behind a dot: the suffix and the value.
    pub(super) fn suffixed(&self, name: &str) -> Vec<(&'a str, &'a str)> {
        let prefix = format!("{PREFIX}{name}.");
        let all = self.service.annotations.iter();
        all.filter_map(|(key, text)| Some((key.strip_prefix(&prefix)?, text.as_str())))
            .collect()
    }

    /// What was parsed, or a fault in the words that say what form the value should have.
    pub(super) fn parsed<T>(&mut self, form: &str, name: &str, text: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.fault(
                name,
                format!("failed to parse {form} annotation, {PREFIX}{name}: {text}"),
            );
        }
        value
    }
}
