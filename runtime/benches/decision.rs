//! Decisions and installation on each engine, one after the other, with what they allocate; and decisions
//! through rbpf's own interface. `seccomp-rbpf bench` measures the same filters and calls in rounds, for ratios.

use cbpf_translator::Checked;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use seccomp_rbpf::cases;
use seccomp_rbpf::exec_memory::HostExecMemory;
#[cfg(target_arch = "x86_64")]
use seccomp_runtime::RbpfVm;
use seccomp_runtime::translator::seccomp::AUDIT_ARCH_X86_64;
use seccomp_runtime::{EngineKind, Loaded, SeccompData};

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

    /// rbpf's JIT through rbpf's own interface.
    #[divan::bench(args = FILTERS)]
    #[cfg(target_arch = "x86_64")]
    fn rbpf_vm(bencher: Bencher, name: &str) {
        let vm = RbpfVm::load(&filter(name), &HostExecMemory).expect("memory");
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
