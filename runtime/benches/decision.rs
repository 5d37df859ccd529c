//! Decisions and installation on each engine, one after the other, with what they allocate; and decisions
//! through rbpf's own VM. `seccomp-rbpf bench` measures the same filters and calls in rounds, for ratios.

use cbpf_translator::{Checked, translate};
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use memmap2::{Mmap, MmapMut};
use rbpf::EbpfVmRaw;
use seccomp_rbpf::cases;
use seccomp_rbpf::exec_memory::HostExecMemory;
use seccomp_runtime::translator::seccomp::AUDIT_ARCH_X86_64;
use seccomp_runtime::{EngineKind, Loaded, SeccompData};
use zerocopy::IntoBytes;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

const FILTERS: [&str; 4] = ["docker-like, linear", "docker-like, tree", "10 rules", "4096 instructions"];

fn filter(name: &str) -> Checked {
    let filter = match name {
        "docker-like, linear" => cases::docker_like().and_then(|policy| policy.linear()),
        "docker-like, tree" => cases::docker_like().and_then(|policy| policy.tree()),
        "10 rules" => cases::rules(10),
        _ => cases::longest().map(|(_, filter)| filter),
    };
    filter.expect("a filter")
}

fn load(filter: Checked, engine: EngineKind) -> Loaded {
    let loaded = Loaded::load(filter, engine, &HostExecMemory).expect("memory");
    assert_eq!(loaded.fell_back(), None);
    loaded
}

fn plan(filter: Checked, engine: EngineKind) -> Loaded {
    load(filter, engine).planned([AUDIT_ARCH_X86_64], &HostExecMemory).expect("memory")
}

/// `decide` on a mix of calls.
fn mix(bencher: Bencher, decide: impl Fn(&SeccompData) -> u32 + Sync) {
    let calls = cases::workload();
    bencher.counter(ItemsCount::new(calls.len())).bench(|| {
        for call in &calls {
            black_box(decide(black_box(call)));
        }
    });
}

#[divan::bench_group]
mod planned {
    use super::*;

    #[divan::bench(args = FILTERS)]
    #[cfg(target_arch = "x86_64")]
    fn jit(bencher: Bencher, name: &str) {
        let filter = plan(filter(name), EngineKind::Jit);
        mix(bencher, |call| filter.run(call));
    }

    #[divan::bench(args = FILTERS)]
    fn native(bencher: Bencher, name: &str) {
        let filter = plan(filter(name), EngineKind::Native);
        mix(bencher, |call| filter.run(call));
    }

    #[divan::bench(args = FILTERS)]
    fn interpreter(bencher: Bencher, name: &str) {
        let filter = plan(filter(name), EngineKind::Interpreter);
        mix(bencher, |call| filter.run(call));
    }
}

#[divan::bench_group]
mod whole {
    use super::*;

    #[divan::bench(args = FILTERS)]
    #[cfg(target_arch = "x86_64")]
    fn jit(bencher: Bencher, name: &str) {
        let filter = load(filter(name), EngineKind::Jit);
        mix(bencher, |call| filter.run(call));
    }

    /// rbpf's JIT through rbpf's VM.
    #[divan::bench(args = FILTERS)]
    #[cfg(target_arch = "x86_64")]
    fn rbpf_vm(bencher: Bencher, name: &str) {
        let vm = Vm::load(&filter(name));
        let calls = cases::workload();
        bencher.counter(ItemsCount::new(calls.len())).bench_local(|| {
            for call in &calls {
                black_box(vm.run(black_box(call)));
            }
        });
    }

    #[divan::bench(args = FILTERS)]
    fn native(bencher: Bencher, name: &str) {
        let filter = load(filter(name), EngineKind::Native);
        mix(bencher, |call| filter.run(call));
    }

    #[divan::bench(args = FILTERS)]
    fn interpreter(bencher: Bencher, name: &str) {
        let filter = load(filter(name), EngineKind::Interpreter);
        mix(bencher, |call| filter.run(call));
    }
}

/// The policy of the docker-like filters by hand.
#[divan::bench]
fn by_hand(bencher: Bencher) {
    mix(bencher, cases::by_hand);
}

/// Checking, loading and planning for one entry. Machine code is not on the heap, all else is.
#[divan::bench(args = FILTERS)]
fn install(bencher: Bencher, name: &str) {
    let insns = filter(name).into_insns();
    bencher.with_inputs(|| insns.clone()).bench_values(|insns| {
        plan(cbpf_translator::check(insns).expect("checked before"), EngineKind::DEFAULT)
    });
}

/// rbpf's VM as its interface offers it, on memory that is executable only once it is no longer written.
struct Vm {
    // Declared before what it borrows, so dropped first.
    vm: EbpfVmRaw<'static>,
    _code: Mmap,
    _program: Vec<u8>,
}

impl Vm {
    fn load(filter: &Checked) -> Self {
        /// As much as Linux's conversion of any filter takes.
        const CODE: usize = 256 << 10;
        let program = translate(filter).and_then(|program| program.to_bytes()).expect("memory");
        let mut code = MmapMut::map_anon(CODE).expect("memory");
        // SAFETY: the bytes are on the heap and not touched again; `_program` keeps them for as long as `vm` is.
        let borrowed: &'static [u8] = unsafe { std::slice::from_raw_parts(program.as_ptr(), program.len()) };
        // SAFETY: the mapping stays where it is, `_code` keeps it for as long as `vm` is, and nobody else uses it.
        let memory: &'static mut [u8] = unsafe { std::slice::from_raw_parts_mut(code.as_mut_ptr(), CODE) };

        let mut vm = EbpfVmRaw::new(Some(borrowed)).expect("a program");
        vm.set_jit_exec_memory(memory).expect("memory");
        vm.jit_compile().expect("a program");
        Self { vm, _code: code.make_exec().expect("memory"), _program: program }
    }

    fn run(&self, call: &SeccompData) -> u32 {
        // rbpf wants a program's input to be writable and to live as long as the program.
        let mut call = *call;
        let (start, len) = (call.as_mut_bytes().as_mut_ptr(), size_of::<SeccompData>());
        // SAFETY: `call` is that long and outlives the run below, the only use.
        let input: &'static mut [u8] = unsafe { std::slice::from_raw_parts_mut(start, len) };
        // SAFETY: the code is compiled from a checked program: it reads inside `input`, writes its own stack,
        // calls nothing and ends.
        unsafe { self.vm.execute_program_jit(input) }.expect("compiled") as u32
    }
}
