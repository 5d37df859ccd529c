//! Bars for what lasts: on standard error if that is a terminal, after a second, and gone at the end.

use std::env;
use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What takes less has no bar.
const AFTER: Duration = Duration::from_secs(1);

/// As often a bar is drawn.
const EVERY: Duration = Duration::from_millis(100);

/// When the command began, or first did something that has a bar.
static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Parts that are known to come, and those that have begun.
static PARTS: AtomicUsize = AtomicUsize::new(0);
static PART: AtomicUsize = AtomicUsize::new(0);

/// Whether there is a terminal for a bar.
fn is_shown() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// A bar, which is there from its first tick on.
fn bar(template: &str, len: Option<u64>, message: String) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(len, ProgressDrawTarget::stderr());
    // All templates are here, and a test draws them.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
    bar.with_message(message)
}

/// Does something of which nothing is known but that it goes on.
pub fn during<T>(message: &str, work: impl FnOnce() -> T) -> T {
    if !is_shown() {
        return work();
    }
    let since = Instant::now();
    let (done, wait) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let shown = scope.spawn(move || {
            if wait.recv_timeout(AFTER) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = bar("{spinner} {msg} ({elapsed})", None, message.into()).with_elapsed(since.elapsed());
            // It ends when the other side is dropped, also by a panic.
            while wait.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                bar.tick();
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(done);
        // Gone before anything else is printed.
        let _ = shown.join();
        result
    })
}

/// Steps of known number. Nothing is drawn but in [`Steps::at`].
pub struct Steps {
    is_shown: bool,
    template: &'static str,
    message: String,
    len: u64,
    since: Instant,
    bar: Option<(ProgressBar, Instant)>,
}

impl Steps {
    /// Of reading so many bytes.
    pub fn of_bytes(message: String, len: u64) -> Self {
        Self::new("{msg} [{bar:30}] {bytes} of {total_bytes}, {eta} left", len, message, Instant::now())
    }

    /// Of a part that takes so long. How long the command has been at work decides whether there is a bar.
    pub fn of_part(message: &str, time: Duration) -> Self {
        let (part, parts) = (PART.fetch_add(1, Ordering::Relaxed) + 1, PARTS.load(Ordering::Relaxed));
        let message = if parts >= part { format!("{message}, {part} of {parts}") } else { message.into() };
        Self::new("{msg} [{bar:30}] ({elapsed})", time.as_millis() as u64, message, *BEGINNING)
    }

    fn new(template: &'static str, len: u64, message: String, since: Instant) -> Self {
        Self { is_shown: is_shown(), template, message, len, since, bar: None }
    }

    /// Draws the bar, if it is time.
    #[inline]
    pub fn at(&mut self, position: impl FnOnce() -> u64) {
        if self.is_shown {
            self.draw(position);
        }
    }

    fn draw(&mut self, position: impl FnOnce() -> u64) {
        let now = Instant::now();
        let is_time = match &self.bar {
            None => now - self.since >= AFTER,
            Some((_, drawn)) => now - *drawn >= EVERY,
        };
        if is_time {
            let new = || bar(self.template, Some(self.len), self.message.clone());
            let bar = self.bar.take().map_or_else(new, |(bar, _)| bar);
            let bar = bar.with_elapsed(self.since.elapsed()).with_position(position());
            bar.tick();
            self.bar = Some((bar, now));
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some((bar, _)) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Says how many parts there will be.
pub fn parts(count: usize) {
    LazyLock::force(&BEGINNING);
    PARTS.store(count, Ordering::Relaxed);
}
