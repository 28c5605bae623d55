use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::{Error, Namespace, sys, wait};

/// A process inside a namespace. Dropping it kills it and waits for its end; it is also killed when this process dies.
#[derive(Debug)]
pub struct Process {
    namespace: String,
    child: Child,
}

impl Process {
    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The standard library's handle, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The exit status, if the process has ended.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child
            .try_wait()
            .map_err(|source| failed(&self.namespace, "look at a process", source))
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        // A process that has ended but was not waited for still takes signals; one that was waited for must not be signalled.
        if let Some(status) = self.status()? {
            return Ok(status);
        }
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM)
            .map_err(|errno| failed(&self.namespace, "terminate a process", errno.into()))?;
        self.wait(limit)
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(|source| failed(&self.namespace, "kill a process", source))
    }

    /// Waits until the process ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let what = format!("process {} in `{}` to end", self.id(), self.namespace);
        wait::wait_for(limit, &what, || self.status().transpose())?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command to start, and where to send the child.
type Order = (Command, mpsc::Sender<io::Result<Child>>);

pub(crate) fn start(namespace: &Namespace, mut command: Command) -> Result<Process, Error> {
    let name = namespace.name();
    let action = format!("start {}", command.get_program().display());
    let handle = namespace
        .handle()
        .try_clone_to_owned()
        .map_err(|source| failed(name, &action, source))?;
    sys::run_in_network(&mut command, handle);
    let child = order(command).map_err(|source| failed(name, &action, source))?;
    Ok(Process {
        namespace: name.to_owned(),
        child,
    })
}

/// Starts a command from a thread that lives as long as this process.
///
/// The kernel sends the death signal when the *thread* that started a child ends, and callers are on threads of all kinds.
fn order(command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<mpsc::Sender<Order>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("lab-processes".to_owned())
            .spawn(move || {
                for (mut command, reply) in receiver {
                    // The one who ordered may be gone; then nobody holds the child.
                    if let Err(mpsc::SendError(Ok(mut child))) = reply.send(command.spawn()) {
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                }
            })
            .expect("the machine can start one more thread");
        sender
    });
    let (sender, receiver) = mpsc::channel();
    orders
        .send((command, sender))
        .expect("the thread ends with the process");
    receiver.recv().expect("the thread answers every order")
}

fn failed(namespace: &str, action: &str, source: io::Error) -> Error {
    Error::Process {
        namespace: namespace.to_owned(),
        action: action.to_owned(),
        source,
    }
}
