//! What a person can do while the sandbox stays.

use std::path::Path;

use super::agents::node_arguments;
use super::report::Report;
use super::session::Session;
use crate::terminal::{Screen, Style};

/// What this process is root of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Privilege {
    /// The machine.
    Root,
    /// A user namespace of its own, which others must enter before the networks in it.
    UserNamespace,
}

/// Command lines to look around with, ready to be copied.
pub(super) fn instructions(session: &Session, report: &Report, privilege: Privilege, screen: Screen) -> String {
    let heading = |text: &str| screen.paint.paint(Style::Strong, text);
    let mut lines = vec![
        String::new(),
        heading("YOUR TURN"),
        format!(
            "Edit the manifests in {} and see what changes.",
            session.folder().display()
        ),
        "Ctrl-C ends everything and leaves nothing behind.".to_owned(),
        String::new(),
    ];
    for agent in session.agents() {
        lines.push(format!(
            "{}  {} bash",
            heading(agent.name()),
            privilege.enter(agent.id())
        ));
    }
    let client = session.lab().client().path();
    lines.push(format!(
        "{}  {} bash",
        heading("client"),
        privilege.enter_network(&client)
    ));
    lines.push(String::new());
    if let Some(agent) = session.agents().first() {
        let node = privilege.enter(agent.id());
        lines.push(heading("the rules of node-1"));
        lines.push(format!("  {node} nft list table inet fairlead"));
        if let Some(row) = report.traffic.first() {
            let program = std::env::current_exe().unwrap_or_else(|_| "fairlead".into());
            let pod = if row.to.is_ipv4() { report.pod[0] } else { report.pod[1] };
            lines.push(heading("why a connection goes where it goes"));
            lines.push(format!("  {node} {} trace \\", program.display()));
            let arguments = node_arguments(session.agents_folder(), agent.name());
            lines.extend(arguments.chunks(2).map(|pair| format!("    {} \\", pair.join(" "))));
            lines.push(format!("    --from {pod} --to {}/{}", row.to, row.protocol));
        }
    }
    lines.push(heading("what the agents say"));
    lines.push(format!("  tail -f {}/*.log", session.logs().display()));
    lines.push(String::new());
    lines.join("\n")
}

impl Privilege {
    /// A command line that enters the network of a process.
    fn enter(self, pid: u32) -> String {
        match self {
            Self::Root => format!("nsenter --target {pid} --net"),
            Self::UserNamespace => format!("nsenter --target {pid} --user --preserve-credentials --net"),
        }
    }

    /// A command line that enters a network by its path.
    fn enter_network(self, network: &Path) -> String {
        let network = network.display();
        match self {
            Self::Root => format!("nsenter --net={network}"),
            Self::UserNamespace => {
                let pid = std::process::id();
                format!("nsenter --user=/proc/{pid}/ns/user --preserve-credentials --net={network}")
            }
        }
    }
}
