//! Whatever a person writes into a manifest: the reader gives objects or an error that names a place in the file.

#![no_main]

use fairlead::source::manifest::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    read("fuzz.yaml", text);
    // Anything but these is refused by the first byte.
    if text.trim_start().starts_with(['{', '[']) {
        read("fuzz.json", text);
    }
});

fn read(file: &str, text: &str) {
    match parse(file, text) {
        Ok(objects) => {
            for object in objects {
                assert!(!object.describe().is_empty());
            }
        }
        Err(error) => {
            assert!(error.to_string().starts_with(file), "{error}");
            let lines = text.split(['\n', '\r']).count() as u64;
            if let Some(position) = error.position {
                assert!((1..=lines + 1).contains(&position.line), "line {} of {lines}", position.line);
            }
        }
    }
}
