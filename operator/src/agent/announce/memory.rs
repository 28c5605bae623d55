//! What this node remembers across a restart of its agent, in a file on the node: an agent that starts while the API server is away goes on
//! with it. It is lost when the node starts anew, as it should be.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fairlead_local::speaker::Plan;
use serde::{Deserialize, Serialize};

const FILE: &str = "announce.json";
/// One of another form is not read.
const VERSION: u32 = 1;

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    version: u32,
    /// The number of the last start.
    pub incarnation: u64,
    /// The keys of heartbeats.
    pub keys: Vec<Vec<u8>>,
    /// What the speaker was asked to do last.
    pub plan: Plan,
    /// The addresses that it owned, with their epochs.
    pub owned: Vec<(IpAddr, u64)>,
}

/// The file.
#[derive(Debug, Clone)]
pub struct MemoryFile {
    folder: PathBuf,
}

impl MemoryFile {
    /// The file in this folder.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// What is remembered; nothing if there is no file, or none that can be read.
    pub fn read(&self) -> Memory {
        let path = self.folder.join(FILE);
        let memory = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<Memory>(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Memory::default(),
            Err(error) => Err(error),
        };
        match memory {
            Ok(memory) if memory.version == VERSION => memory,
            Ok(_) => Memory::default(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read what was remembered of announced addresses");
                Memory::default()
            }
        }
    }

    /// [`Self::write`]; what cannot be written is said.
    pub fn write_or_warn(&self, memory: &Memory) {
        if let Err(error) = self.write(memory) {
            let folder = self.folder.display();
            tracing::warn!(%folder, %error, "cannot remember which addresses are announced; a restart while the API server is away will lose them");
        }
    }

    /// Remembers. The file holds keys, so nobody else may read it; at no time is it there in part.
    pub fn write(&self, memory: &Memory) -> io::Result<()> {
        let memory = Memory {
            version: VERSION,
            ..memory.clone()
        };
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(&memory)?)?;
        file.persist(self.folder.join(FILE)).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory {
            incarnation: 7,
            keys: vec![b"secret".to_vec()],
            owned: vec![
                ("198.51.100.7".parse().unwrap(), 3),
                ("2001:db8::7".parse().unwrap(), 1),
            ],
            ..Memory::default()
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = MemoryFile::new(&folder.path().join("made"));
        assert_eq!(file.read(), Memory::default());
        file.write(&memory()).unwrap();
        assert_eq!(
            file.read(),
            Memory {
                version: VERSION,
                ..memory()
            }
        );
        let mode = fs::metadata(folder.path().join("made").join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_and_one_of_another_version_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = MemoryFile::new(folder.path());
        for text in ["", "{", "{\"version\":1}", "[]"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(file.read(), Memory::default(), "{text}");
        }
        file.write(&memory()).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        fs::write(folder.path().join(FILE), text.replace("\"version\":1", "\"version\":2")).unwrap();
        assert_eq!(file.read(), Memory::default());
    }
}
