//! The program under test, and what it must leave behind: nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use fairlead_lab::wait_for;
use rustix::process::{Pid, Signal, getuid, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// `nobody`, on every Linux distribution.
const NOBODY: u32 = 65534;

/// Who runs the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs the test.
    Same,
    /// Nobody.
    Nobody,
}

/// A running sandbox.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    errors: Option<ChildStderr>,
    /// Its working directory, which is empty.
    _home: TempDir,
    /// Where it may put temporary files.
    scratch: TempDir,
}

impl Program {
    /// Starts the sandbox with these flags. None, and a word about it, where the kernel does not allow it.
    pub(crate) fn start(user: User, flags: &[&str]) -> Option<Self> {
        if user == User::Nobody && !getuid().is_root() {
            // The other tests run without root already.
            return None;
        }
        if let Some(reason) = refusal(user) {
            skip(&reason);
            return None;
        }
        let (home, scratch) = (folder(), folder());
        let mut child = command(user, home.path())
            .args(flags)
            .env("TMPDIR", scratch.path())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Some(Self {
            errors: child.stderr.take(),
            child,
            lines,
            _home: home,
            scratch,
        })
    }

    /// The next JSON document that it prints.
    pub(crate) fn next_document(&mut self, patience: Duration) -> Value {
        match self.lines.recv_timeout(patience) {
            Ok(line) => serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")),
            Err(error) => {
                let _ = self.child.kill();
                panic!("no document ({error}); it said: {}", self.read_errors());
            }
        }
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// It ends by itself, content, and nothing is left.
    pub(crate) fn assert_ends(&mut self, patience: Duration) {
        let status = self.wait(patience);
        assert!(status.success(), "{status}: {}", self.read_errors());
        self.assert_nothing_is_left();
    }

    /// It ends with an error, and nothing is left. Returns what it said.
    pub(crate) fn assert_fails(&mut self, patience: Duration) -> String {
        let status = self.wait(patience);
        assert_eq!(status.code(), Some(1));
        self.assert_nothing_is_left();
        self.read_errors()
    }

    fn wait(&mut self, patience: Duration) -> ExitStatus {
        wait_for(patience, "the program to end", || self.child.try_wait().unwrap()).unwrap()
    }

    fn read_errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(errors) = &mut self.errors {
            errors.read_to_string(&mut text).unwrap();
        }
        text
    }

    /// Neither a file nor a process: all that it starts inherit its environment, whoever their parent is in the end.
    fn assert_nothing_is_left(&self) {
        let files: Vec<_> = fs::read_dir(self.scratch.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(files, [""; 0].map(PathBuf::from));
        let scratch = self.scratch.path().to_str().unwrap();
        let processes: Vec<_> = processes_with(&format!("TMPDIR={scratch}")).collect();
        assert_eq!(processes, [0; 0]);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kills a process that the program told of.
pub(crate) fn kill(process: u32) {
    let id = i32::try_from(process)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(id, Signal::KILL).unwrap();
}

/// Processes that were started with this in their environment, which children inherit.
fn processes_with(variable: &str) -> impl Iterator<Item = u32> {
    let has_variable = move |process: &u32| {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|entry| entry == variable.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(has_variable)
}

/// A folder that everybody may use.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    folder
}

fn command(user: User, home: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_fairlead"));
    let mut command = match user {
        User::Same => Command::new(program),
        User::Nobody => {
            // The folder that it was built in may be closed to others.
            let copy = home.join("fairlead");
            fs::copy(program, &copy).unwrap();
            let mut command = Command::new(copy);
            command.uid(NOBODY).gid(NOBODY);
            command
        }
    };
    command.arg("sandbox").env_remove("RUST_LOG").env_remove("NO_COLOR");
    command
}

/// Why this user may not run a sandbox, asked of the program itself: it looks for a folder that is not there, which it does
/// once it may make networks.
fn refusal(user: User) -> Option<String> {
    let home = folder();
    let output = command(user, home.path())
        .args(["--manifests", "/nowhere"])
        .current_dir(home.path())
        .output()
        .expect("the program starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    errors
        .contains("network namespaces are unavailable")
        .then(|| errors.into_owned())
}

fn skip(reason: &str) {
    // `eprintln!` would be captured, since the test passes.
    let _ = writeln!(std::io::stderr(), "\nSKIP a test of the sandbox: {reason}");
    assert!(
        std::env::var_os("CI").is_none(),
        "a test of network namespaces must not be skipped in CI: {reason}"
    );
}
