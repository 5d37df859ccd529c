//! Where boxes and arrows are: in layers from left to right, each box behind all that lead to it. Many layers are
//! bands, one below the other.
//!
//! Long arrows are led through the layers between by points that keep a place like boxes. Layers are put into an order
//! in which few arrows cross; then each layer's boxes are put as near to what they are joined with as their sizes allow,
//! which is the nearest in the sense of least squares.

use std::collections::HashMap;

use super::chart::{Arrow, Box, Chart, Way};

/// Pixels of a character, of which all fonts with fixed width have about 0.6 of their size.
pub const CHARACTER: f64 = 7.25;
pub const LINE: f64 = 16.0;
/// Between text and border.
pub const PADDING: f64 = 9.0;
/// Around all.
pub const MARGIN: f64 = 24.0;

/// Between boxes of a layer.
const GAP: f64 = 14.0;

/// Between layers at least, and where arrows have labels, and at most.
const NEAR: f64 = 44.0;
const LABELLED: f64 = 88.0;

/// What a label takes of that.
const LABEL: f64 = 36.0;
const FAR: f64 = 220.0;

/// An arrow over more layers is no arrow but a [link](Chart::link).
const MAX_SPAN: usize = 8;

/// As many layers are beside each other. What follows is a band below; arrows there are links.
const BAND: usize = 20;

/// How often layers are put into a new order.
const SWEEPS: usize = 16;

/// How often boxes are moved to what they are joined with.
const MOVES: usize = 12;

/// How much more a point of a long arrow keeps it straight than a box does.
const STRAIGHT: f64 = 4.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A part of an arrow, from the border of something to that of something in the next layer.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    pub from: (f64, f64),
    /// Where the layer ends that it comes from.
    pub bend: f64,
    pub to: (f64, f64),
    /// Whether it ends at a box.
    pub arrives: bool,
    pub kind: Way,
}

pub struct Layout {
    pub width: f64,
    pub height: f64,
    /// One for each box.
    pub places: Vec<Place>,
    pub curves: Vec<Curve>,
}

/// A box, or a point of a long arrow.
struct Item {
    layer: usize,
    place: Place,
    is_box: bool,
    before: Vec<usize>,
    after: Vec<(usize, Way)>,
}

impl Item {
    fn is_labelled(&self) -> bool {
        self.after.iter().any(|(_, way)| *way != Way::Always)
    }
}

impl Layout {
    /// Replaces arrows that are too long, and says where all is.
    pub fn of(chart: &mut Chart) -> Self {
        let layers = layers(chart);
        let layers = shorten(chart, layers);
        let mut items: Vec<Item> = chart
            .boxes
            .iter()
            .zip(&layers)
            .map(|(shown, layer)| Item {
                layer: *layer,
                place: size(shown),
                is_box: true,
                before: Vec::new(),
                after: Vec::new(),
            })
            .collect();
        lead(&mut items, &chart.arrows);
        for item in items.iter_mut().filter(|item| item.is_labelled() && item.is_box) {
            // So that there is a line for each label.
            item.place.height = item.place.height.max(2.5 * LINE);
        }
        let mut order = first_order(&items);
        reorder(&items, &mut order);
        put(&mut items, &order);
        let height = stretch(&mut items, &order);
        let (width, ends) = columns(&mut items, &order);
        let curves = curves(&items, &ends);
        let places = items.iter().filter(|item| item.is_box).map(|item| item.place).collect();
        Self { width, height, places, curves }
    }
}

fn size(shown: &Box) -> Place {
    let decision = shown.decision.as_ref().map(|(_, words)| words.chars().count());
    let longest = shown.lines.iter().map(|line| line.chars().count()).chain(decision).max().unwrap_or(0);
    let rows = shown.lines.len() as f64;
    let text = if shown.lines.is_empty() { 0.0 } else { rows * LINE + PADDING };
    let decision = if decision.is_some() { LINE + PADDING } else { 0.0 };
    Place {
        width: longest as f64 * CHARACTER + 2.0 * PADDING,
        height: (text + decision).max(LINE + PADDING),
        ..Place::default()
    }
}

/// The layer of each box: one behind the last of those that lead to it.
fn layers(chart: &Chart) -> Vec<usize> {
    let count = chart.boxes.len();
    let (mut layers, mut ways, mut after) = (vec![0; count], vec![0; count], vec![Vec::new(); count]);
    for Arrow { from, to, .. } in &chart.arrows {
        after[*from].push(*to);
        ways[*to] += 1;
    }
    let mut open: Vec<usize> = (0..count).filter(|index| ways[*index] == 0).collect();
    while let Some(from) = open.pop() {
        for to in &after[from] {
            layers[*to] = layers[*to].max(layers[from] + 1);
            ways[*to] -= 1;
            if ways[*to] == 0 {
                open.push(*to);
            }
        }
    }
    layers
}

/// Puts a box with the number of where it goes on in the place of each arrow that is too long or leaves its band. The
/// result is layers of which each band has one more than [`BAND`], for those boxes.
fn shorten(chart: &mut Chart, mut layers: Vec<usize>) -> Vec<usize> {
    let mut behind = Vec::new();
    for index in 0..chart.arrows.len() {
        let Arrow { from, to, .. } = chart.arrows[index];
        if layers[to] - layers[from] > MAX_SPAN || layers[to] / BAND != layers[from] / BAND {
            let link = chart.link(to);
            behind.push(from);
            chart.arrows[index].to = link;
        }
    }
    for layer in &mut layers {
        *layer += *layer / BAND;
    }
    layers.extend(behind.into_iter().map(|from| layers[from] + 1).collect::<Vec<_>>());
    layers
}

/// Joins the items, with points in the layers that an arrow passes. Arrows to one box share them.
fn lead(items: &mut Vec<Item>, arrows: &[Arrow]) {
    let mut points: HashMap<(usize, usize), usize> = HashMap::new();
    for Arrow { from, to, kind } in arrows {
        let (mut last, mut way) = (*from, *kind);
        let mut is_new = true;
        for layer in items[*from].layer + 1..items[*to].layer {
            let next = *points.entry((*to, layer)).or_insert_with(|| {
                let point = Item {
                    layer,
                    place: Place::default(),
                    is_box: false,
                    before: Vec::new(),
                    after: Vec::new(),
                };
                items.push(point);
                items.len() - 1
            });
            join(items, last, next, way);
            (last, way) = (next, Way::Always);
            // Behind a point that was there all is joined.
            is_new = items[next].before.len() == 1;
            if !is_new {
                break;
            }
        }
        if is_new {
            join(items, last, *to, way);
        }
    }
}

fn join(items: &mut [Item], from: usize, to: usize, way: Way) {
    items[from].after.push((to, way));
    items[to].before.push(from);
}

/// The items of each layer in the order in which they were made, which is that of a walk.
fn first_order(items: &[Item]) -> Vec<Vec<usize>> {
    let count = items.iter().map(|item| item.layer + 1).max().unwrap_or(0);
    let mut order = vec![Vec::new(); count];
    for (index, item) in items.iter().enumerate() {
        order[item.layer].push(index);
    }
    order
}

/// Puts each layer into the order of the middles of what is joined, from left to right and back. The best is kept.
fn reorder(items: &[Item], order: &mut Vec<Vec<usize>>) {
    let mut positions = vec![0; items.len()];
    let note = |layer: &[usize], positions: &mut Vec<usize>| {
        for (position, index) in layer.iter().enumerate() {
            positions[*index] = position;
        }
    };
    order.iter().for_each(|layer| note(layer, &mut positions));
    let (mut best, mut fewest) = (order.clone(), crossings(items, order, &positions));
    for sweep in 0..SWEEPS {
        if fewest == 0 {
            break;
        }
        let forward = sweep.is_multiple_of(2);
        let count = order.len();
        for step in 0..count {
            let layer = &mut order[if forward { step } else { count - 1 - step }];
            let middle = |index: usize| {
                let item = &items[index];
                let mean = |sum: usize, count: usize| {
                    if count == 0 { positions[index] as f64 } else { sum as f64 / count as f64 }
                };
                if forward {
                    mean(item.before.iter().map(|other| positions[*other]).sum(), item.before.len())
                } else {
                    mean(item.after.iter().map(|(other, _)| positions[*other]).sum(), item.after.len())
                }
            };
            let mut keyed: Vec<_> = layer.iter().map(|index| (middle(*index), *index)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = keyed.into_iter().map(|(_, index)| index).collect();
            note(layer, &mut positions);
        }
        let count = crossings(items, order, &positions);
        if count < fewest {
            (best, fewest) = (order.clone(), count);
        }
    }
    *order = best;
}

/// How many pairs of arrows cross between layers.
fn crossings(items: &[Item], order: &[Vec<usize>], positions: &[usize]) -> u64 {
    let mut all = 0;
    for (layer, next) in order.iter().zip(order.iter().skip(1)) {
        // How many arrows so far end at or below each position, as a Fenwick tree.
        let mut tree = vec![0_u64; next.len() + 1];
        let mut count = 0;
        for index in layer {
            let mut ends: Vec<_> = items[*index].after.iter().map(|(to, _)| positions[*to]).collect();
            ends.sort_unstable();
            for end in &ends {
                let (mut above, mut at) = (0, end + 1);
                while at > 0 {
                    above += tree[at];
                    at &= at - 1;
                }
                all += count - above;
            }
            for end in ends {
                let mut at = end + 1;
                while at < tree.len() {
                    tree[at] += 1;
                    at += at & at.wrapping_neg();
                }
                count += 1;
            }
        }
    }
    all
}

/// Moves the items of each layer to what they are joined with. `y` is that of their middle meanwhile.
fn put(items: &mut [Item], order: &[Vec<usize>]) {
    for layer in order {
        let mut y = 0.0;
        for index in layer {
            let place = &mut items[*index].place;
            place.y = y + place.height / 2.0;
            y += place.height + GAP;
        }
    }
    for step in 0..MOVES {
        let forward = step.is_multiple_of(2);
        for at in 0..order.len() {
            let layer = &order[if forward { at } else { order.len() - 1 - at }];
            let wanted: Vec<_> = layer.iter().map(|index| wanted(items, *index, step)).collect();
            let heights: Vec<_> = layer.iter().map(|index| items[*index].place.height).collect();
            for (index, y) in layer.iter().zip(nearest(&wanted, &heights)) {
                items[*index].place.y = y;
            }
        }
    }
}

/// Where an item would best be, and how much.
fn wanted(items: &[Item], index: usize, step: usize) -> (f64, f64) {
    let item = &items[index];
    let y = |other: usize| items[other].place.y;
    let weight = if item.is_box { 1.0 } else { STRAIGHT };
    let before = item.before.iter().map(|other| y(*other));
    let after = item.after.iter().map(|(other, _)| y(*other));
    // At last both sides count.
    let both = step + 2 >= MOVES;
    let forward = step.is_multiple_of(2);
    let (sum, count) = before
        .filter(|_| forward || both)
        .chain(after.filter(|_| !forward || both))
        .fold((0.0, 0), |(sum, count), y| (sum + y, count + 1));
    if count == 0 { (item.place.y, weight / 8.0) } else { (sum / f64::from(count), weight) }
}

/// The places nearest to those wanted, in this order, with a gap between each two.
///
/// Without the room that they take, places have to rise only. Those that do not are put together at their mean, until
/// all do.
fn nearest(wanted: &[(f64, f64)], heights: &[f64]) -> Vec<f64> {
    let mut room = 0.0;
    let mut rooms = Vec::with_capacity(wanted.len());
    // Sum of weighted places, sum of weights, and how many are together.
    let mut groups: Vec<(f64, f64, usize)> = Vec::new();
    for (index, ((y, weight), height)) in wanted.iter().zip(heights).enumerate() {
        if index > 0 {
            room += (heights[index - 1] + height) / 2.0 + GAP;
        }
        rooms.push(room);
        let mut group = ((y - room) * weight, *weight, 1);
        while let Some(last) = groups.pop() {
            if last.0 / last.1 <= group.0 / group.1 {
                groups.push(last);
                break;
            }
            group = (last.0 + group.0, last.1 + group.1, last.2 + group.2);
        }
        groups.push(group);
    }
    let means = groups.iter().flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, *count));
    means.zip(rooms).map(|(y, room)| y + room).collect()
}

/// Makes `y` that of the upper border, from the margin on. The result is the height of all.
fn stretch(items: &mut [Item], order: &[Vec<usize>]) -> f64 {
    let mut height = MARGIN;
    for band in order.chunks(BAND + 1) {
        let top = |index: &usize| items[*index].place.y - items[*index].place.height / 2.0;
        let first = band.iter().flatten().map(top).fold(f64::INFINITY, f64::min);
        let empty = empty(items, band);
        let mut end = height;
        for index in band.iter().flatten() {
            let place = &mut items[*index].place;
            let top = place.y - place.height / 2.0;
            let above = empty.partition_point(|(below, _)| *below <= top);
            let saved = above.checked_sub(1).map_or(0.0, |last| empty[last].1);
            place.y = (top - saved - first + height).round();
            end = end.max(place.y + place.height);
        }
        height = end.ceil() + MARGIN;
    }
    height
}

/// Below which heights there is how much room above that nothing uses: parts that no arrow joins may be far apart.
fn empty(items: &[Item], band: &[Vec<usize>]) -> Vec<(f64, f64)> {
    let mut used: Vec<(f64, f64)> = Vec::new();
    for item in band.iter().flatten().map(|index| &items[*index]) {
        let Place { y, height, .. } = item.place;
        used.push((y - height / 2.0, y + height / 2.0));
        let others = item.after.iter().map(|(to, _)| items[*to].place.y);
        used.extend(others.map(|other| (y.min(other), y.max(other))));
    }
    used.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut empty: Vec<(f64, f64)> = Vec::new();
    let mut end = f64::INFINITY;
    for (first, last) in used {
        if first > end + MARGIN {
            let before = empty.last().map_or(0.0, |(_, saved)| *saved);
            empty.push((first, before + first - end - MARGIN));
        }
        end = if end.is_finite() { end.max(last) } else { last };
    }
    empty
}

/// Gives layers their places. The result is the width of all, and where each layer ends.
fn columns(items: &mut [Item], order: &[Vec<usize>]) -> (f64, Vec<f64>) {
    let mut ends: Vec<f64> = Vec::with_capacity(order.len());
    for band in order.chunks(BAND + 1) {
        let mut x = MARGIN;
        for layer in band {
            let width = layer.iter().map(|index| items[*index].place.width).fold(0.0, f64::max).ceil();
            for index in layer {
                let item = &mut items[*index];
                item.place.x = x;
                if !item.is_box {
                    item.place.width = width;
                }
            }
            let labelled = layer.iter().any(|index| items[*index].is_labelled());
            ends.push(x + width + if labelled { LABEL } else { 0.0 });
            x += width + gap(items, layer).max(if labelled { LABELLED } else { NEAR });
        }
    }
    (ends.iter().copied().fold(0.0, f64::max) + MARGIN, ends)
}

/// How far the next layer is: farther where arrows go far up or down.
fn gap(items: &[Item], layer: &[usize]) -> f64 {
    let mut steepest = 0.0_f64;
    for item in layer.iter().map(|index| &items[*index]) {
        for (to, _) in &item.after {
            steepest = steepest.max((middle(&items[*to].place) - middle(&item.place)).abs());
        }
    }
    (steepest / 10.0).min(FAR).round()
}

fn middle(place: &Place) -> f64 {
    place.y + place.height / 2.0
}

fn curves(items: &[Item], ends: &[f64]) -> Vec<Curve> {
    let mut curves = Vec::new();
    for item in items {
        let Place { x, width, height, .. } = item.place;
        let mut after = item.after.clone();
        after.sort_by(|a, b| middle(&items[a.0].place).total_cmp(&middle(&items[b.0].place)));
        for (position, (to, kind)) in after.iter().enumerate() {
            let target = &items[*to];
            let beside = match (*kind, position, after.len()) {
                (Way::Always, ..) | (_, _, 0 | 1) => 0.0,
                (_, 0, _) => -height / 5.0,
                _ => height / 5.0,
            };
            curves.push(Curve {
                from: (if item.is_box { x + width } else { x }, middle(&item.place) + beside),
                bend: ends[item.layer],
                to: (target.place.x, middle(&target.place)),
                arrives: target.is_box,
                kind: *kind,
            });
        }
    }
    curves
}

#[cfg(test)]
mod tests {
    use cbpf_translator::{SockFilter, check};
    use seccomp_kernel::Arch;
    use seccomp_rbpf::flow::Flow;
    use seccomp_tests::generate;

    use super::super::words::Words;
    use super::*;

    fn chart(program: Vec<SockFilter>) -> Chart {
        let program = check(program).unwrap();
        let flow = Flow::of(&program);
        Chart::of(&flow, &Words::of(&flow, Arch::X86_64), "test".into(), program.insns().len())
    }

    /// Where in a box a point is: on its left border, on its right border.
    fn borders(place: &Place, (x, y): (f64, f64)) -> [bool; 2] {
        let beside = y > place.y && y < place.y + place.height;
        [beside && x == place.x, beside && x == place.x + place.width]
    }

    fn examine(chart: &mut Chart) {
        let count = chart.arrows.len();
        let layout = Layout::of(chart);
        assert_eq!(chart.arrows.len(), count);
        assert_eq!(layout.places.len(), chart.boxes.len());
        for (index, place) in layout.places.iter().enumerate() {
            assert!(place.x >= MARGIN && place.y >= MARGIN, "{place:?}");
            assert!(place.x + place.width + MARGIN <= layout.width, "{place:?}");
            assert!(place.y + place.height + MARGIN <= layout.height, "{place:?}");
            for other in &layout.places[..index] {
                let apart = |a: f64, b: f64, to_a: f64, to_b: f64| a + to_a <= b || b + to_b <= a;
                assert!(
                    apart(place.x, other.x, place.width, other.width)
                        || apart(place.y, other.y, place.height, other.height),
                    "{place:?} and {other:?}"
                );
            }
        }
        for curve in &layout.curves {
            // Up to the end of its layer it goes straight on, and meets nothing there.
            for place in &layout.places {
                let is_own = borders(place, curve.from)[1];
                let beside = curve.from.1 > place.y && curve.from.1 < place.y + place.height;
                let before = place.x < curve.bend && place.x + place.width > curve.from.0;
                assert!(is_own || !(beside && before), "{curve:?} through {place:?}");
            }
            assert!(curve.bend >= curve.from.0 && curve.to.0 > curve.bend);
            assert!(curve.to.1 > 0.0 && curve.to.1 < layout.height);
        }
        for arrow in &chart.arrows {
            let [from, to] = [arrow.from, arrow.to].map(|index| &layout.places[index]);
            let mut open: Vec<_> =
                layout.curves.iter().filter(|curve| borders(from, curve.from)[1]).collect();
            let mut arrived = false;
            while let Some(curve) = open.pop() {
                arrived |= curve.arrives && borders(to, curve.to)[0];
                if !curve.arrives {
                    open.extend(layout.curves.iter().filter(|next| next.from == curve.to));
                }
            }
            assert!(arrived, "{arrow:?} does not get there");
        }
    }

    #[test]
    fn nothing_is_where_something_else_is_and_arrows_join_their_boxes() {
        let mut rng = generate::seeded();
        for _ in 0..generate::campaign(400, "SECCOMP_LAYOUTS") {
            examine(&mut chart(generate::program(&mut rng, 128)));
        }
    }

    /// A program of the most instructions, each three of which compare a word and go near or far.
    fn longest(far: impl Fn(usize) -> u8) -> Vec<SockFilter> {
        let mut program = Vec::new();
        while program.len() < 4094 {
            let index = program.len();
            program.push(SockFilter::new(0x20, 0, 0, 16 + index as u32 % 48 / 8 * 8));
            let room = (4096 - index - 3).min(255) as u8;
            program.push(SockFilter::new(0x15, far(index).min(room), 0, index as u32));
        }
        program.extend([SockFilter::new(0x06, 0, 0, 0x7fff_0000); 2]);
        program
    }

    #[test]
    fn the_longest_filters_are_drawn() {
        let shapes: [fn(usize) -> u8; 4] =
            [|_| 1, |_| 254, |index| if index % 4 == 0 { 254 } else { 1 }, |index| (index % 120) as u8 * 2];
        for far in shapes {
            let mut chart = chart(longest(far));
            let layout = Layout::of(&mut chart);
            assert!(chart.boxes.len() < 4 * 4096 && layout.curves.len() < 16 * 4096);
        }
    }

    #[test]
    fn places_are_the_nearest_that_have_room() {
        // Two that want the same place share the way; one that is far away keeps it.
        let wanted = [(0.0, 1.0), (0.0, 1.0), (500.0, 1.0)];
        assert_eq!(nearest(&wanted, &[10.0, 10.0, 10.0]), [-12.0, 12.0, 500.0]);
        // A point of a long arrow gives way less.
        let places = nearest(&[(0.0, STRAIGHT), (0.0, 1.0)], &[10.0, 10.0]);
        assert_eq!(places, [-24.0 / (STRAIGHT + 1.0), 24.0 - 24.0 / (STRAIGHT + 1.0)]);
    }
}
