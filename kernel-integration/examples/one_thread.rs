//! A kernel that has one thread: it installs a filter on itself and makes calls.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::ops::ControlFlow;

use seccomp_kernel::runtime::translator::{SockFilter, asm};
use seccomp_kernel::runtime::{ExecMemory, NoExecMemory, SeccompData};
use seccomp_kernel::uapi::{SECCOMP_MODE_FILTER, SockFprog};
use seccomp_kernel::{
    Arch, Entry, Fault, GroupLock, Interrupted, Kernel, Listener, LogMask, Notified, Thread, ThreadGroup,
    ThreadState, Traced, Verdict, enter, syscall,
};

/// What a kernel keeps of a thread.
#[derive(Default)]
struct Task {
    seccomp: ThreadState,
    no_new_privs: Cell<bool>,
    /// Its memory, from address 0 on.
    memory: RefCell<Vec<u8>>,
}

impl Thread for Task {
    fn seccomp(&self) -> &ThreadState {
        &self.seccomp
    }

    fn tid(&self) -> i32 {
        1
    }

    fn no_new_privs(&self) -> bool {
        self.no_new_privs.get()
    }

    fn set_no_new_privs(&self) {
        self.no_new_privs.set(true);
    }
}

/// A thread group of one.
struct Alone;

impl ThreadGroup for Alone {
    type Thread = Task;

    fn for_each_sibling(&self, _: &mut dyn FnMut(&Task) -> ControlFlow<()>) {}
}

impl Kernel for Task {
    type Thread = Self;
    type Group = Alone;
    type NewListener = Infallible;

    fn current(&self) -> &Self {
        self
    }

    fn read_user(&self, address: u64, into: &mut [u8]) -> Result<(), Fault> {
        let memory = self.memory.borrow();
        let from = usize::try_from(address).ok().and_then(|address| memory.get(address..));
        into.copy_from_slice(from.and_then(|from| from.get(..into.len())).ok_or(Fault)?);
        Ok(())
    }

    fn write_user(&self, _: u64, _: &[u8]) -> Result<(), Fault> {
        Err(Fault)
    }

    fn may_install(&self) -> bool {
        false
    }

    fn with_group<R>(&self, _: GroupLock, f: impl FnOnce(&Alone) -> R) -> Result<R, Interrupted> {
        Ok(f(&Alone))
    }

    fn exec_memory(&self) -> &dyn ExecMemory {
        &NoExecMemory
    }

    fn planned_entries(&self) -> &[Arch] {
        &[Arch::X86_64]
    }
}

/// A thread at the entry of a call.
struct Call(SeccompData);

impl Entry for Call {
    fn data(&mut self) -> SeccompData {
        self.0
    }

    fn trace(&mut self, _: u16) -> Traced {
        Traced::NoTracer
    }

    fn notify(&mut self, _: &dyn Listener, _: &SeccompData) -> Notified {
        // Not reached: `Kernel::new_listener` gives none.
        Notified::Interrupted
    }
}

/// The entry of system calls. A kernel does what the verdict says.
fn system_call(task: &Task, name: &str) -> Verdict {
    let nr = Arch::X86_64.syscall_number(name).expect("a name of x86-64's");
    let call = SeccompData { nr, arch: Arch::X86_64.audit_arch(), ..Default::default() };
    enter(&task.seccomp, LogMask::all(), &mut Call(call)).verdict
}

fn main() {
    let task = Task::default();
    assert_eq!(system_call(&task, "mkdir"), Verdict::Proceed);

    // The program puts a filter into its memory, and what prctl(2) takes in front of it.
    let source = "ld [0]\njeq #mkdir, deny\nret #SECCOMP_RET_ALLOW\ndeny: ret #SECCOMP_RET_ERRNO|1";
    let number = |name: &str| Arch::X86_64.syscall_number(name).map(i32::cast_unsigned);
    let filter: Vec<SockFilter> = asm::assemble(source, &number).expect("a filter");
    let mut memory = vec![0; SockFprog::NATIVE_SIZE];
    memory[..2].copy_from_slice(&(filter.len() as u16).to_ne_bytes());
    memory[8..].copy_from_slice(&(SockFprog::NATIVE_SIZE as u64).to_ne_bytes());
    memory.extend(filter.iter().flat_map(|insn| insn.to_ne_bytes()));
    task.memory.replace(memory);

    let install = || syscall::prctl_set_seccomp(&task, Arch::X86_64, SECCOMP_MODE_FILTER, 0);
    println!("prctl(PR_SET_SECCOMP) without no_new_privs: {:?}", install());
    task.set_no_new_privs();
    println!("prctl(PR_SET_SECCOMP) with it: {:?}", install());
    for name in ["mkdir", "getpid"] {
        println!("{name}: {:?}", system_call(&task, name));
    }
    assert_eq!(system_call(&task, "mkdir"), Verdict::Return(-1));
    assert_eq!(system_call(&task, "getpid"), Verdict::Proceed);
}
