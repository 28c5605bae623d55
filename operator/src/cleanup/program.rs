//! Programs of the host, run with a deadline.

use std::env;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long one program may run. A save of a large cluster's rules takes a few seconds.
const DEADLINE: Duration = Duration::from_mins(1);
/// Where programs for root are, whatever PATH says.
const ROOT_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// A program that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("cannot run {program}")]
    Run {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} failed: {message}")]
    Failed { program: String, message: String },
    #[error("{program} did not end in time")]
    TooSlow { program: String },
}

/// The path of a program, if it is installed.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(ROOT_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Runs a program with a text on its standard input, and returns what it printed.
pub(super) fn run(program: &Path, arguments: &[&str], input: String) -> Result<String, ProgramError> {
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let failed = |source| ProgramError::Run {
        program: name.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let output = talk(&mut child, input, DEADLINE);
    if output.is_none() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(failed)?;
    match output {
        None => Err(ProgramError::TooSlow { program: name }),
        Some((output, _)) if status.success() => Ok(String::from_utf8_lossy(&output).into_owned()),
        Some((_, errors)) => {
            let text = String::from_utf8_lossy(&errors);
            let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            let message = lines.next().map_or_else(|| status.to_string(), str::to_owned);
            Err(ProgramError::Failed { program: name, message })
        }
    }
}

/// Writes the input and reads both outputs to their ends; `None` if that takes too long. The threads end with the child.
fn talk(child: &mut Child, input: String, deadline: Duration) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut stdin, stdout, stderr) = (child.stdin.take()?, child.stdout.take()?, child.stderr.take()?);
    thread::spawn(move || {
        // A program that does not want its input says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    });
    let output = collect(stdout);
    let errors = collect(stderr);
    Some((output.recv_timeout(deadline).ok()?, errors.recv_timeout(deadline).ok()?))
}

fn collect(mut from: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (done, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        // Nobody listens after the deadline.
        let _ = done.send(bytes);
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_its_input_and_its_failure_is_told() {
        let shell = find("sh").unwrap();
        let large = "x".repeat(1 << 20);
        assert_eq!(run(&shell, &["-c", "cat"], large.clone()).unwrap(), large);
        let err = run(&shell, &["-c", "echo >&2; echo broken >&2; exit 3"], String::new()).unwrap_err();
        assert_eq!(err.to_string(), "sh failed: broken");
        assert!(find("no-program-has-this-name").is_none());
    }

    #[test]
    fn a_program_that_hangs_is_given_up() {
        let mut child = Command::new(find("sh").unwrap())
            .args(["-c", "exec sleep 1000"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(talk(&mut child, String::new(), Duration::from_millis(50)).is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
