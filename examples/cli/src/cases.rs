//! What the benchmarks decide about: filters, calls and a policy by hand.

mod by_hand;
pub mod extension;

use anyhow::Context;
use cbpf_translator::Checked;
use cbpf_translator::cbpf::MAX_INSNS;
use cbpf_translator::seccomp::{RET_ALLOW, RET_ERRNO};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use seccomp_kernel::Arch;
use seccomp_runtime::SeccompData;
use syscalls::x86_64::Sysno;

use crate::policy::{Condition, Policy, Rule};
pub use by_hand::by_hand;

/// The policy that is shipped, `tests/cases/docker-like.policy`.
///
/// # Errors
///
/// Never; it is a part of this program.
pub fn docker_like() -> anyhow::Result<Policy> {
    Policy::parse(include_str!("../../../tests/cases/docker-like.policy")).context("docker-like.policy")
}

/// EPERM for `count - 1` numbers and, at the end, for personality(2) unless it only asks; all else is allowed.
///
/// # Errors
///
/// That many do not fit into a filter.
pub fn rules(count: u32) -> anyhow::Result<Checked> {
    /// From here on are calls that no workload here makes.
    const FIRST: u32 = Sysno::fanotify_init as u32;
    let value = RET_ERRNO | 1;
    let mut rules: Vec<_> =
        (FIRST..).take(count as usize - 1).map(|nr| Rule { nr, value, when: Vec::new() }).collect();
    let asks = Condition { arg: 0, mask: u64::MAX, value: ASK_PERSONALITY, equal: false };
    rules.push(Rule { nr: Sysno::personality as u32, value, when: vec![vec![asks]] });
    Policy { arch: Arch::X86_64, default: RET_ALLOW, rules }.linear()
}

/// The filter of [`rules`] that is as long as a filter can be, and how many rules it has.
///
/// # Errors
///
/// Never; a filter with no rule fits.
pub fn longest() -> anyhow::Result<(u32, Checked)> {
    let fits = |count: u32| rules(count).ok().map(|filter| (count, filter));
    (1..=MAX_INSNS as u32).rev().find_map(fits).context("no filter fits")
}

/// The argument of personality(2) that only asks.
const ASK_PERSONALITY: u64 = 0xffff_ffff;

/// A call of an x86-64 program.
pub const fn call(nr: Sysno, args: [u64; 3]) -> SeccompData {
    let [a, b, c] = args;
    SeccompData {
        nr: nr as i32,
        arch: Arch::X86_64.audit_arch(),
        instruction_pointer: 0x7f12_3456_789a,
        args: [a, b, c, 0, 0, 0],
    }
}

/// A call that the filters here always allow.
pub const CONSTANT: SeccompData = call(Sysno::getppid, [0; 3]);

/// A call whose arguments they check, and allow: the last rule of each linear filter.
pub const ARGUMENT: SeccompData = call(Sysno::personality, [ASK_PERSONALITY, 0, 0]);

/// Calls by weight.
const WORKLOAD: [(u16, SeccompData); 29] = [
    (140, call(Sysno::read, [5, 0x7f00_0000, 4096])),
    (120, call(Sysno::write, [5, 0x7f00_0000, 512])),
    (110, call(Sysno::futex, [0x7f00_0000, 128, 0])),
    (80, call(Sysno::epoll_wait, [4, 0x7f00_0000, 512])),
    (70, call(Sysno::recvfrom, [9, 0x7f00_0000, 16384])),
    (60, call(Sysno::sendto, [9, 0x7f00_0000, 1500])),
    (40, call(Sysno::close, [9, 0, 0])),
    (40, call(Sysno::openat, [u64::MAX - 99, 0x7f00_0000, 0])),
    (40, call(Sysno::newfstatat, [u64::MAX - 99, 0x7f00_0000, 0x7f00_1000])),
    (30, call(Sysno::poll, [0x7f00_0000, 1, 1000])),
    (30, call(Sysno::mmap, [0, 4096, 3])),
    (25, call(Sysno::accept4, [3, 0, 0])),
    (20, call(Sysno::munmap, [0x7f00_0000, 4096, 0])),
    (20, call(Sysno::mprotect, [0x7f00_0000, 4096, 1])),
    (20, call(Sysno::rt_sigprocmask, [0, 0x7f00_0000, 0])),
    (20, call(Sysno::lseek, [5, 0, 0])),
    (20, call(Sysno::pread64, [5, 0x7f00_0000, 4096])),
    (15, call(Sysno::getpid, [0; 3])),
    (15, call(Sysno::nanosleep, [0x7f00_0000, 0, 0])),
    (15, call(Sysno::fcntl, [5, 4, 2048])),
    (10, CONSTANT),
    (30, call(Sysno::ioctl, [0, 0x5401, 0x7f00_0000])),
    (25, call(Sysno::socket, [2, 1, 0])),
    (20, call(Sysno::clone, [0x003d_0f00, 0x7f00_0000, 0])),
    (10, call(Sysno::prctl, [15, 0x7f00_0000, 0])),
    (10, call(Sysno::fchmodat, [u64::MAX - 99, 0x7f00_0000, 0o644])),
    (5, ARGUMENT),
    (5, call(Sysno::clone, [0x1000_0000, 0, 0])),
    (5, call(Sysno::mount, [0x7f00_0000, 0x7f00_1000, 0])),
];

/// The calls of a server, in an order that is the same every time: one in ten has its arguments checked, one in
/// a hundred is denied. Different ones are few, so that they stay in the cache, as the one call does that a
/// kernel decides about.
pub fn workload() -> Vec<&'static SeccompData> {
    /// So often that the order is not learnt.
    const REPEATS: usize = 4;
    let repeated =
        WORKLOAD.iter().flat_map(|(weight, call)| std::iter::repeat_n(call, REPEATS * usize::from(*weight)));
    let mut calls: Vec<_> = repeated.collect();
    calls.shuffle(&mut SmallRng::seed_from_u64(0));
    calls
}

#[cfg(test)]
mod tests {
    use seccomp_kernel::X32_SYSCALL_BIT;

    use super::*;
    use crate::policy::Policy;

    /// The calls of every number with arguments that matter to [`docker_like`], and some that do not.
    fn calls() -> impl Iterator<Item = SeccompData> {
        let values = [0, 1, 8, 35, 40, 41, 0x180, 0x400, 0x5401, 0x5412, 0x541c, 0x81a4, 0x61a4, 0x2_0008]
            .into_iter()
            .chain([0x7e02_0000, ASK_PERSONALITY, 1 << 32, 8 | 1 << 32, u64::MAX]);
        let edges = [-1, i32::MIN, X32_SYSCALL_BIT, X32_SYSCALL_BIT - 1];
        (0..600).chain(edges).flat_map(move |nr| {
            values.clone().map(move |value| SeccompData {
                nr,
                arch: Arch::X86_64.audit_arch(),
                args: [value, value, value, 0, 0, 0],
                ..Default::default()
            })
        })
    }

    #[test]
    fn filters_and_hand_decide_as_the_policy_says() {
        use seccomp_runtime::{EngineKind, Loaded, NoExecMemory};

        let policy: Policy = docker_like().unwrap();
        let load = |filter| Loaded::load(filter, EngineKind::Native, &NoExecMemory).unwrap();
        let (linear, tree) = (load(policy.linear().unwrap()), load(policy.tree().unwrap()));
        let i386 = SeccompData { arch: Arch::I386.audit_arch(), ..CONSTANT };
        for call in calls().chain([i386]).chain(workload().into_iter().copied()) {
            let value = policy.decide(&call);
            assert_eq!([linear.run(&call), tree.run(&call), by_hand(&call)], [value; 3], "{call:x?}");
        }
    }

    #[test]
    fn filters_have_the_length_that_they_say() {
        let (count, longest) = longest().unwrap();
        assert_eq!(longest.insns().len(), MAX_INSNS);
        assert!(count > 4000 && rules(count + 1).is_err());
        assert!(rules(10).unwrap().insns().len() < 30);
    }
}
