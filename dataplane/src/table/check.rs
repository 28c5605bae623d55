//! What must hold for every table, or the kernel refuses it.

use super::{FieldType, Holds, Name, SetData, Statement, Table, Value, Verdict};

/// The longest name of a chain or a set (`NFT_NAME_MAXLEN` is 256 with the end mark).
const LONGEST_NAME: usize = 255;

impl Table {
    /// Every way in which the table is not one that the kernel would take; empty for a sound table.
    pub fn check(&self) -> Vec<String> {
        let names = self.chains.keys().chain(self.sets.keys());
        let mut flaws: Vec<_> = names
            .filter(|name| name.len() > LONGEST_NAME)
            .map(|name| format!("{name}: the name is longer than {LONGEST_NAME} bytes"))
            .collect();
        for (name, chain) in &self.chains {
            for (rule, statement) in chain
                .rules
                .iter()
                .flat_map(|rule| rule.0.iter().map(move |s| (rule, s)))
            {
                if let Some(flaw) = self.check_statement(statement) {
                    flaws.push(format!("chain {name}: {rule}: {flaw}"));
                }
            }
        }
        flaws.extend(self.sets.keys().flat_map(|name| self.check_set(name)));
        flaws
    }

    fn check_statement(&self, statement: &Statement) -> Option<String> {
        let (key, set) = match statement {
            Statement::Lookup { key, set, .. } => (&key[..], set),
            Statement::VerdictMap { key, map } | Statement::DnatMap { key, map, .. } => (&key[..], map),
            Statement::Update { key, set, .. } => (std::slice::from_ref(key), set),
            Statement::Verdict(verdict) => return self.check_verdict(verdict),
            _ => return None,
        };
        let Some(spec) = self.sets.get(set).map(|set| set.spec) else {
            return Some(format!("there is no set {set}"));
        };
        let key: Vec<FieldType> = key.iter().map(|field| field.kind()).collect();
        (spec.key != key).then(|| format!("the key of {set} has other fields"))
    }

    fn check_verdict(&self, verdict: &Verdict) -> Option<String> {
        match verdict {
            Verdict::Jump(chain) | Verdict::Goto(chain) if !self.chains.contains_key(chain) => {
                Some(format!("there is no chain {chain}"))
            }
            _ => None,
        }
    }

    fn check_set(&self, name: &Name) -> Vec<String> {
        let set = &self.sets[name];
        let len = FieldType::key_len(set.spec.key);
        let mut flaws = Vec::new();
        let mut flaw = |what: String| flaws.push(format!("set {name}: {what}"));
        for (key, value) in &set.elements {
            if key.as_bytes().len() != len {
                flaw(format!("{key:?} has not {len} bytes"));
            }
            match (value, set.spec.data) {
                (Value::Nothing, SetData::Nothing) => {}
                (Value::Verdict(verdict), SetData::Verdict) => {
                    self.check_verdict(verdict).into_iter().for_each(&mut flaw);
                }
                (Value::Data(data), SetData::Fields(fields)) if data.as_bytes().len() == FieldType::key_len(fields) => {
                }
                _ => flaw(format!("{key:?} maps to a value of another type")),
            }
        }
        if set.spec.holds != Holds::Ranges && !set.ranges.is_empty() {
            flaw("it holds ranges".into());
        }
        if set.spec.holds != Holds::Keys && !set.elements.is_empty() {
            flaw("it holds keys".into());
        }
        flaws
    }
}
