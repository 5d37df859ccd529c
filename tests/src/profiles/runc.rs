//! runc as a judge: it starts a container with a profile, or says why it does not.

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, io, process, thread};

use serde_json::{Value, json};

/// A bundle whose program does nothing and ends well.
pub struct Runc {
    folder: PathBuf,
}

impl Runc {
    /// Makes the bundle.
    ///
    /// # Panics
    ///
    /// There is no runc, or no compiler.
    pub fn new() -> Self {
        // Tests of one process each have their own, and remove it.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("runc.{}.{count}", process::id()));
        let root = folder.join("rootfs");
        fs::create_dir_all(&root).expect("a new folder");
        let source = folder.join("true.c");
        fs::write(&source, "int main(void) { return 0; }\n").expect("it is written");
        let mut cc = Command::new("cc");
        cc.args(["-static", "-o"]).arg(root.join("true")).arg(&source);
        assert!(cc.status().expect("there is a compiler").success());
        let listener = UnixListener::bind(folder.join("listener")).expect("a new socket");
        // Nobody supervises: what is sent is read, and descriptors that come with it are closed.
        thread::spawn(move || {
            listener.incoming().flatten().for_each(|mut sent| drop(io::copy(&mut sent, &mut io::sink())));
        });
        Self { folder }
    }

    /// The path of a socket that takes listeners, for `listenerPath`.
    pub fn listener(&self) -> PathBuf {
        self.folder.join("listener")
    }

    /// Starts a container with this profile.
    ///
    /// # Errors
    ///
    /// What runc says of it.
    ///
    /// # Panics
    ///
    /// There is no runc.
    pub fn start(&self, profile: &Value) -> Result<(), String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {"cwd": "/", "args": ["/true"], "user": {"uid": 0, "gid": 0}},
            "root": {"path": "rootfs", "readonly": true},
            "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
            "linux": {
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}],
                "seccomp": profile,
            },
        });
        let path = self.folder.join("config.json");
        fs::write(path, config.to_string()).expect("it is written");
        let name = format!("seccomp-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let mut runc = Command::new("runc");
        runc.arg("--root").arg(self.folder.join("state")).args(["run", "--bundle"]).arg(&self.folder);
        runc.arg(name).stdin(Stdio::null()).stdout(Stdio::null());
        let output = runc.output().expect("runc is installed");
        let told = String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(()) } else { Err(told.into_owned()) }
    }

    /// The bundle.
    pub fn bundle(&self) -> &Path {
        &self.folder
    }
}

impl Default for Runc {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Runc {
    fn drop(&mut self) {
        // It is in the folder for what may go.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
