//! The serial console. What the kernel itself says begins with `kernel: `.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::arch;

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($arg:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($arg)*))) };
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        arch::serial_write(text.as_bytes());
        Ok(())
    }
}

pub fn print(args: fmt::Arguments) {
    // It does not fail.
    let _ = Console.write_fmt(args);
}

/// Bytes that a program writes.
pub fn write(bytes: &[u8]) {
    arch::serial_write(bytes);
}

/// Lets the libraries' own messages appear.
pub fn init() {
    struct Logger;
    impl Log for Logger {
        fn enabled(&self, _: &Metadata) -> bool {
            true
        }
        fn log(&self, record: &Record) {
            println!("kernel: {}: {}", record.level(), record.args());
        }
        fn flush(&self) {}
    }
    if log::set_logger(&Logger).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
