//! Tests that need network namespaces, for everyone who runs them.

use std::env;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::user_namespace::{may_make_namespaces, unavailable};
use crate::{Error, Namespace, sys};

/// Set for a test binary that was started again to run one test in a user namespace.
const RERUN: &str = "FAIRLEAD_LAB_TEST";
/// The first words of what a test that was started again tells the one that started it.
const RUNS: &str = "fairlead-lab: runs ";
const CANNOT_RUN: &str = "fairlead-lab: cannot run: ";

/// The name of the test that it is written in, as `cargo test` prints it. For [`in_namespace`].
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::test_name_of(::std::any::type_name_of_val(&here))
    }};
}

/// Runs the body of a test in a new network namespace with nothing in it but `lo`, where it may make others.
///
/// As root, `body` runs on a thread inside the namespace. Otherwise the test binary is started once more, for this test alone, as root of a user
/// namespace. `test` must be [`test_name!()`](crate::test_name): a test that does not run the second time fails.
///
/// Where the kernel allows neither, the test says `SKIP` on standard error, and nothing is tested. With `CI` in the environment it fails instead.
///
/// ```no_run
/// # fn loopback_is_up() {
/// fairlead_lab::in_namespace(fairlead_lab::test_name!(), || {
///     assert!(std::net::TcpListener::bind("127.0.0.1:80").is_ok());
/// });
/// # }
/// ```
pub fn in_namespace(test: &str, body: impl FnOnce() + Send) {
    let is_rerun = env::var_os(RERUN).is_some_and(|name| name == test);
    if !is_rerun && !may_make_namespaces() {
        return run_again(test);
    }
    match Namespace::new(test) {
        Ok(namespace) => {
            if is_rerun {
                tell(RUNS, test);
            }
            namespace.run(body);
        }
        Err(error) if is_rerun => tell(CANNOT_RUN, &chain(&error)),
        Err(error) => skip(test, &chain(&error)),
    }
}

/// Runs the test in a user namespace, by starting this test binary again for it.
fn run_again(test: &str) {
    let binary = env::current_exe().expect("a running program has a file");
    let mut command = Command::new(binary);
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(RERUN, test)
        .stdin(Stdio::null());
    sys::run_as_root_apart(&mut command, sys::RootMaps::of_this_process());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            return skip(
                test,
                &unavailable(&error, "cannot start the test in a user namespace").to_string(),
            );
        }
    };
    let (told, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    print!("{told}");
    eprint!("{errors}");
    if let Some(reason) = told.lines().find_map(|line| line.strip_prefix(CANNOT_RUN)) {
        return skip(test, reason);
    }
    assert!(
        output.status.success(),
        "the test failed in its user namespace ({})",
        output.status
    );
    let has_run = told.lines().any(|line| line.strip_prefix(RUNS) == Some(test));
    assert!(has_run, "the test binary knows no test `{test}`: pass test_name!()");
}

fn skip(test: &str, reason: &str) {
    // `eprintln!` would be captured, since the test passes.
    let _ = writeln!(io::stderr(), "\nSKIP {test}: {reason}");
    assert!(
        env::var_os("CI").is_none(),
        "a test of network namespaces must not be skipped in CI: {reason}"
    );
}

/// Tells the test that started this one, on a line of its own.
fn tell(what: &str, text: &str) {
    let _ = writeln!(io::stdout(), "\n{what}{text}");
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The name of the test that has the function called `path` in it.
#[doc(hidden)]
pub fn test_name_of(path: &'static str) -> &'static str {
    let in_crate = path.split_once("::").map_or(path, |(_crate, rest)| rest);
    let in_test = in_crate.rsplit_once("::").map_or(in_crate, |(rest, _here)| rest);
    in_test.split("::{{closure}}").next().unwrap_or(in_test)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_test_knows_its_name() {
        assert_eq!(test_name!(), "testing::tests::a_test_knows_its_name");
        let in_closure = || test_name!();
        assert_eq!(in_closure(), "testing::tests::a_test_knows_its_name");
    }
}
