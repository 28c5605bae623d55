//! Programs that are asked for something: each with a deadline, and with what it said when it fails.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fairlead_lab::wait_for_every;

/// How long a program may take if nothing else is said.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// How often something is looked at that is waited for.
const POLL: Duration = Duration::from_millis(200);
/// So much of what a program said belongs to the error.
const LAST_LINES: usize = 15;

/// One call of a program.
#[derive(Debug)]
pub struct Program {
    name: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    input: Option<Vec<u8>>,
    log: Option<File>,
    limit: Duration,
}

impl Program {
    /// A program by its name in PATH, or by its path.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            log: None,
            limit: PATIENCE,
        }
    }

    /// One that `e2e/cluster/tools.sh` built.
    pub fn tool(name: &str) -> Self {
        Self::new(tools().join(name).to_string_lossy())
    }

    /// One of the repository's scripts, by its path there.
    pub fn script(path: &str) -> Self {
        Self::new(repository().join(path).to_string_lossy())
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments.into_iter();
        self.arguments
            .extend(arguments.map(|argument| argument.as_ref().to_string_lossy().into_owned()));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// What it reads from its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Where everything goes that it says, instead of to [`Self::output`] and the like.
    #[must_use]
    pub fn log_to(mut self, file: File) -> Self {
        self.log = Some(file);
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// As the operating system starts it. coreutils' `timeout` ends it, and what it has started, when the time is over.
    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", &self.limit.as_secs().max(1).to_string(), &self.name])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn text(&self) -> String {
        let name = self.name.rsplit('/').next().unwrap_or(&self.name);
        let arguments = self.arguments.iter().map(String::as_str);
        std::iter::once(name).chain(arguments).collect::<Vec<_>>().join(" ")
    }

    fn sink(&self) -> anyhow::Result<Stdio> {
        let Some(log) = &self.log else {
            return Ok(Stdio::piped());
        };
        let log = log.try_clone().context("cannot share a log")?;
        Ok(log.into())
    }

    /// Runs it and gives what it did, whatever its exit code.
    pub fn output(&self) -> anyhow::Result<Output> {
        let stdin = if self.input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .command()
            .stdin(stdin)
            .stdout(self.sink()?)
            .stderr(self.sink()?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let input = self.input.clone().zip(child.stdin.take());
        // A program that ends without reading everything says so by its exit code.
        let writer = input.map(|(input, mut pipe)| std::thread::spawn(move || drop(pipe.write_all(&input))));
        let output = child.wait_with_output().context("cannot wait for a program")?;
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        ensure!(
            output.status.code() != Some(124),
            "`{}` did not end within {:?}",
            self.text(),
            self.limit
        );
        Ok(output)
    }

    /// Runs it and gives what it wrote to its standard output.
    pub fn run(&self) -> anyhow::Result<String> {
        let output = self.output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed ({}): {}", self.text(), output.status, last_lines(&said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it with this process's own output; true if it succeeded.
    pub fn show(&self) -> anyhow::Result<bool> {
        let status = self.command().stdin(Stdio::null()).status();
        let status = status.with_context(|| format!("cannot start {}", self.name))?;
        ensure!(
            status.code() != Some(124),
            "`{}` did not end within {:?}",
            self.text(),
            self.limit
        );
        Ok(status.success())
    }

    /// True if it runs and succeeds.
    pub fn succeeds(&self) -> bool {
        self.output().is_ok_and(|output| output.status.success())
    }
}

/// The end of what a program said, where it usually says why it failed.
pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

/// Fairlead's folder in the user's cache.
pub fn cache() -> PathBuf {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/cache"))
        .join("fairlead")
}

/// Where `e2e/cluster/tools.sh` puts what it builds.
pub fn tools() -> PathBuf {
    std::env::var_os("FAIRLEAD_TOOLS").map_or_else(|| cache().join("tools"), PathBuf::from)
}

/// The checkout that this program runs from.
pub fn repository() -> PathBuf {
    // cargo says where the package is. What was compiled in may be another checkout, built in the same target folder.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(package);
    let mut folders = package.ancestors();
    let root = folders.find(|folder| folder.join("Cargo.lock").exists());
    root.map_or(package.clone(), PathBuf::from)
}

/// Where results and the traces of failures go; ignored by git.
pub fn out() -> PathBuf {
    repository().join("e2e/out")
}

/// Asks again and again until there is an answer. In vain, it says what the last question failed with, if it failed.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut failure = None;
    let answer = wait_for_every(POLL, limit, what, || match ask() {
        Ok(answer) => {
            failure = None;
            answer
        }
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    answer.map_err(|in_vain| match failure {
        Some(failure) => failure.context(in_vain),
        None => in_vain.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn who_waits_in_vain_is_told_what_failed_last() {
        let mut answers = [Err("refused"), Ok(None), Err("reset")].into_iter();
        let error = wait_for("an answer", Duration::from_millis(500), || {
            answers.next().unwrap_or(Err("gone")).map_err(anyhow::Error::msg)
        });
        let error: anyhow::Result<()> = error;
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.ends_with("in vain for: an answer: gone"), "{text}");
        assert!(answers.next().is_none(), "it asked more than once");

        let error = wait_for("an answer", Duration::ZERO, || anyhow::Ok(None::<()>)).unwrap_err();
        assert!(format!("{error:#}").ends_with("in vain for: an answer"));
    }

    #[test]
    fn what_a_program_says_goes_to_its_log() {
        let mut log = tempfile::tempfile().unwrap();
        let program = Program::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]);
        let output = program.log_to(log.try_clone().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
        log.rewind().unwrap();
        assert_eq!(std::io::read_to_string(log).unwrap(), "out\nerr\n");
    }

    #[test]
    fn the_end_of_a_text_is_its_last_lines() {
        assert_eq!(last_lines("one\ntwo\n"), "one\ntwo");
        let text: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        assert_eq!(last_lines(&text.join("\n")), text[5..].join("\n"));
    }
}
