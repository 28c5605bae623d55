//! The kit against a provider of boxes with labels, and against such that are wrong in one way each.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use super::*;

/// What a box is, and the label on it; ours bear the mark `us`.
type Boxes = Arc<Mutex<BTreeMap<String, (String, Option<String>)>>>;

/// How a provider is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Making a box again makes another.
    Doubles,
    /// It labels a box after it has made it, and knows its own by the label.
    MarksLate,
    /// It takes away what bears no mark.
    TakesForeign,
    /// It never finds its label right.
    NeverRests,
    /// It leaves the box.
    Leaves,
}

struct Shelf {
    boxes: Boxes,
    fault: Fault,
}

#[derive(Debug)]
enum Step {
    Make(String, Option<String>),
    Label(String, String),
    Take(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(name, _) => write!(f, "make {name}"),
            Self::Label(name, label) => write!(f, "label {name} {label}"),
            Self::Take(name) => write!(f, "take {name} away"),
        }
    }
}

impl Provider for Shelf {
    type Key = String;
    type Desired = String;
    type Observed = Vec<(String, Option<String>)>;
    type Step = Step;

    async fn observe(&self, key: &String) -> Result<Self::Observed, ProviderError> {
        let boxes = self.boxes.lock().unwrap();
        let is_ours = |(name, (mark, _)): &(&String, &(String, Option<String>))| {
            name.starts_with(key.as_str()) && (mark == "us" || self.fault == Fault::TakesForeign)
        };
        let ours = boxes.iter().filter(is_ours);
        Ok(ours.map(|(name, (_, label))| (name.clone(), label.clone())).collect())
    }

    fn plan(&self, desired: Option<&String>, observed: &Self::Observed) -> Result<Plan<Step>, ProviderError> {
        let Some(label) = desired else {
            let all = observed.iter().filter(|_| self.fault != Fault::Leaves);
            return Ok(all.map(|(name, _)| Step::Take(name.clone())).collect());
        };
        let first = match self.fault {
            Fault::MarksLate => Step::Make("box".to_owned(), None),
            _ => Step::Make("box".to_owned(), Some("us".to_owned())),
        };
        let relabel = Step::Label("box".to_owned(), label.clone());
        Ok(match observed.as_slice() {
            [] => [first, relabel].into_iter().collect(),
            [(_, is)] if is.as_ref() == Some(label) && self.fault != Fault::NeverRests => Plan::empty(),
            _ => [relabel].into_iter().collect(),
        })
    }

    async fn perform(&self, step: &Step) -> Result<(), ProviderError> {
        let mut boxes = self.boxes.lock().unwrap();
        match step {
            Step::Make(name, mark) => {
                let mut name = name.clone();
                while self.fault == Fault::Doubles && boxes.contains_key(&name) {
                    name.push('x');
                }
                boxes.entry(name).or_insert((mark.clone().unwrap_or_default(), None));
            }
            Step::Label(name, label) => {
                boxes.insert(name.clone(), ("us".to_owned(), Some(label.clone())));
            }
            Step::Take(name) => drop(boxes.remove(name)),
        }
        Ok(())
    }

    fn is_gone(observed: &Self::Observed) -> bool {
        observed.is_empty()
    }
}

impl Bench for Fault {
    type Provider = Shelf;
    type Backend = Boxes;
    type Contents = BTreeMap<String, (String, Option<String>)>;

    async fn backend(&self) -> Boxes {
        let foreign = ("box-of-others".to_owned(), ("them".to_owned(), None));
        Arc::new(Mutex::new([foreign].into()))
    }

    fn provider(&self, backend: &Boxes) -> Shelf {
        Shelf {
            boxes: backend.clone(),
            fault: *self,
        }
    }

    async fn contents(&self, backend: &Boxes) -> Self::Contents {
        backend.lock().unwrap().clone()
    }

    fn key(&self) -> String {
        "box".to_owned()
    }

    fn desires(&self) -> Vec<String> {
        ["red", "blue"].map(str::to_owned).into()
    }
}

fn verdict(fault: Fault) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let passed = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(pass(&fault))));
    passed.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    })
}

#[test]
fn a_provider_that_is_right_passes() {
    assert_eq!(verdict(Fault::None), Ok(()));
}

#[test]
fn a_provider_that_is_wrong_is_found_out() {
    for (fault, said) in [
        (Fault::Doubles, "done twice fails"),
        (Fault::MarksLate, "something is orphaned"),
        (Fault::TakesForeign, "there was nothing to delete"),
        (Fault::NeverRests, "it does not settle"),
        (Fault::Leaves, "gone is what is not wanted"),
    ] {
        let found = verdict(fault).expect_err(&format!("{fault:?} passes"));
        assert!(found.contains(said), "{fault:?}: {found}");
    }
}
