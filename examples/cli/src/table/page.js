"use strict";

// The tables are the data: what is shown is chosen by hiding rows and calls of theirs.

const $ = (id) => document.getElementById(id);
const form = $("controls");
const entries = [...document.querySelectorAll("section.entry")];

// The largest file that is read as another table.
const MAX_FILE = 16 << 20;

const ACTIONS = ["KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "USER_NOTIF", "TRACE", "LOG", "ALLOW", "UNKNOWN"];

// What rows can be chosen by besides.
const ARGUMENTS = "ARGUMENTS";

function make(name, properties, ...children) {
	const element = Object.assign(document.createElement(name), properties);
	element.append(...children);
	return element;
}

const rowsOf = (entry) => [...entry.querySelectorAll("tbody > tr")];
const cellsOf = (row) => [...row.querySelectorAll(".says")];
const callsOf = (row) => [...row.querySelectorAll(".calls > li")];

// What a row can be chosen by.
function kinds(row) {
	const said = cellsOf(row).flatMap((cell) => [...cell.querySelectorAll("[data-action]")]);
	const actions = said.map((element) => element.dataset.action);
	const depends = actions.includes("DEPENDS") || row.querySelector(".cases");
	return new Set(depends ? [...actions, ARGUMENTS] : actions);
}

// What a cell says, as it can be searched: values with their words, and conditions.
function words(cell) {
	const parts = [...cell.querySelectorAll("li, data, span[data-action]")];
	return parts.map((part) => `${part.textContent} ${part.value ?? ""}`).join(" ").toLowerCase();
}

// What a call is found by.
function finder(query, bit) {
	const text = query.trim().toLowerCase();
	const isNumber = /^(\d+|0x[0-9a-f]+)$/.test(text);
	const number = isNumber ? Number(text) : -1;
	return {
		inRow: (row) => text === "" || (!/^\d+$/.test(text) && cellsOf(row).some((cell) => words(cell).includes(text))),
		call: (item) => {
			const nr = item.querySelector("small");
			const name = item.firstChild.textContent.toLowerCase();
			return name.includes(text) || (nr !== null && (Number(nr.textContent) === number || Number(nr.textContent) + bit === number));
		},
	};
}

function chosen() {
	const checked = (name) => [...form.querySelectorAll(`input[name="${name}"]:checked`)].map((input) => input.value);
	return {
		query: $("query").value,
		arch: checked("arch")[0] ?? entries[0].dataset.arch,
		actions: checked("action"),
		differs: $("differs").checked && !$("differing").hidden,
	};
}

function show() {
	const { query, arch, actions, differs } = chosen();
	for (const entry of entries) {
		entry.hidden = entry.dataset.arch !== arch;
	}
	const entry = entries.find((entry) => !entry.hidden);
	const find = finder(query, Number(entry.dataset.bit ?? 0));
	const counts = new Map();
	let [shown, all] = [0, 0];
	for (const row of rowsOf(entry)) {
		const calls = callsOf(row);
		const of = kinds(row);
		const numbered = calls.filter((item) => !item.classList.contains("others")).length;
		all += numbered;
		for (const kind of of) {
			counts.set(kind, (counts.get(kind) ?? 0) + numbered);
		}
		const isChosen =
			(actions.length === 0 || actions.some((action) => of.has(action))) && (!differs || row.dataset.same !== "yes");
		const isFound = find.inRow(row);
		let some = false;
		for (const item of calls) {
			item.hidden = !isChosen || !(isFound || find.call(item));
			some ||= !item.hidden;
			shown += !item.hidden && !item.classList.contains("others");
		}
		row.hidden = !some;
		const size = row.querySelector(".size");
		if (size) {
			const left = calls.filter((item) => !item.hidden && !item.classList.contains("others")).length;
			size.textContent = numbered < 2 ? "" : `${left === numbered ? "" : `${left} of `}${numbered} calls`;
		}
	}
	entry.querySelector("table").hidden = rowsOf(entry).every((row) => row.hidden);
	entry.querySelector(".none").hidden = !entry.querySelector("table").hidden;
	for (const input of form.querySelectorAll('input[name="action"]')) {
		const count = counts.get(input.value) ?? 0;
		input.nextElementSibling.nextElementSibling.textContent = count || "";
		// One that was chosen elsewhere has to be taken back here.
		input.parentElement.hidden = !counts.has(input.value) && !input.checked;
	}
	const isAll = query.trim() === "" && actions.length === 0 && !differs;
	document.querySelector("section.constant").hidden = !isAll;
	$("count").textContent = shown === all ? `${all} system calls` : `${shown} of ${all} system calls`;
}

// The view is in the address, so that it can be passed on.

function remember() {
	const { query, arch, actions, differs } = chosen();
	const view = new URLSearchParams();
	if (arch !== entries[0].dataset.arch) {
		view.set("arch", arch);
	}
	if (query !== "") {
		view.set("q", query);
	}
	for (const action of actions) {
		view.append("is", action);
	}
	if (differs) {
		view.set("differs", "1");
	}
	history.replaceState(null, "", `#${view}`);
}

function recall() {
	const hash = location.hash.slice(1);
	const view = new URLSearchParams(hash);
	$("query").value = view.get("q") ?? "";
	$("differs").checked = view.has("differs");
	// A section's own name leads to it too.
	const arch = entries.some((entry) => entry.dataset.arch === hash) ? hash : view.get("arch");
	const arches = [...form.querySelectorAll('input[name="arch"]')];
	const input = arches.find((input) => input.value === arch) ?? arches[0];
	input.checked = true;
	for (const input of form.querySelectorAll('input[name="action"]')) {
		input.checked = view.getAll("is").includes(input.value);
	}
	show();
}

function choices() {
	const choice = (type, name, value, label, mark) => {
		const input = make("input", { type, name, value });
		const text = make("span", { textContent: label });
		if (mark) {
			text.dataset.action = mark;
		}
		return make("label", { className: "choice" }, input, text, make("small"));
	};
	const arches = entries.map((entry) => choice("radio", "arch", entry.dataset.arch, entry.dataset.arch));
	$("arches").replaceChildren($("arches").firstElementChild, ...arches);
	$("arches").hidden = entries.length < 2;
	const there = new Set(entries.flatMap(rowsOf).flatMap((row) => [...kinds(row)]));
	const actions = ACTIONS.filter((action) => there.has(action)).map((action) => choice("checkbox", "action", action, action, action));
	if (there.has(ARGUMENTS)) {
		actions.push(choice("checkbox", "action", ARGUMENTS, "by arguments", "DEPENDS"));
	}
	$("actions").replaceChildren($("actions").firstElementChild, ...actions);
	$("differing").hidden = !document.querySelector("tr[data-same]");
}

// A second table, from a file.

class NoTable extends Error {}

function value({ value, decision }) {
	if (!/^0x[0-9a-f]{8}$/.test(value) || typeof decision !== "string") {
		throw new NoTable("a decision has no value");
	}
	const element = make("data", { value, textContent: decision });
	const action = /^[A-Z_]*/.exec(decision)[0];
	element.dataset.action = ACTIONS.includes(action) ? action : "UNKNOWN";
	return element;
}

// What `said` of the page's maker makes of a decision.
function said(decision) {
	switch (decision.kind) {
		case "always":
			return value(decision.otherwise);
		case "cases": {
			const cases = decision.cases.map((one) => {
				const terms = String(one.words).split(", or ").map((words) => make("code", { textContent: words }));
				return make("li", {}, value(one.then), " if ", ...terms.flatMap((term, index) => (index ? [" or ", term] : [term])));
			});
			return make("ul", { className: "cases" }, ...cases, make("li", {}, value(decision.otherwise), " otherwise"));
		}
		case "depends on arguments": {
			const element = make("span", { textContent: decision.kind });
			element.dataset.action = "DEPENDS";
			return element;
		}
		default:
			throw new NoTable("a decision is of no known kind");
	}
}

const same = (a, b) => (words(a) !== words(b) ? "no" : a.querySelector('[data-action="DEPENDS"]') ? "unknown" : "yes");

const BOTH = "both";

function cell(name, side, decision) {
	const label = make("p", { className: side === BOTH ? "side both" : "side" }, make("bdi", { textContent: side }));
	const element = make(name, { className: "says" }, label, ...decision);
	element.setAttribute("role", name === "th" ? "rowheader" : "cell");
	if (name === "th") {
		element.scope = "row";
	}
	return element;
}

const VERDICTS = { no: "\u2260 said otherwise", unknown: "? not known whether it differs", yes: "" };

function compare(name, table) {
	const entry = entries.find((entry) => entry.dataset.arch === table.arch);
	if (!entry) {
		throw new NoTable(`it is about ${table.arch}, which has no table here`);
	}
	const theirs = new Map();
	for (const row of table.rows) {
		for (const call of row.calls) {
			theirs.set(call.name, row.decision);
		}
	}
	// Rows of calls that have the same two decisions.
	const groups = new Map();
	const nothing = make("span", { textContent: "not in the table" });
	nothing.dataset.action = "DEPENDS";
	for (const row of rowsOf(entry)) {
		for (const item of callsOf(row)) {
			const other = item.classList.contains("others") ? table.others : theirs.get(item.firstChild.textContent.trim());
			const first = row.querySelector(".says");
			const second = make("td", {}, other ? said(other) : nothing.cloneNode(true));
			const key = `${words(first)}\n${words(second)}`;
			const group = groups.get(key) ?? { color: row.dataset.color, first, second, same: same(first, second), items: [] };
			group.items.push(item);
			groups.set(key, group);
		}
	}
	const order = ["no", "unknown", "yes"];
	const sorted = [...groups.values()].sort((a, b) => order.indexOf(a.same) - order.indexOf(b.same));
	const mine = document.querySelector("h1").textContent.trim();
	const rows = sorted.map((group) => {
		const first = [...group.first.childNodes].map((node) => node.cloneNode(true));
		const heads = [cell("th", group.same === "yes" ? BOTH : mine, first)];
		if (group.same === "yes") {
			heads[0].colSpan = 2;
		} else {
			heads.push(cell("td", name, [...group.second.childNodes]));
		}
		const verdict = make("span", { className: "verdict", textContent: VERDICTS[group.same] });
		const about = make("p", { className: "about" }, ...(verdict.textContent ? [verdict, " "] : []), make("span", { className: "size" }));
		const calls = make("ul", { className: "calls" }, ...group.items);
		calls.setAttribute("role", "list");
		const last = make("td", {}, about, calls);
		last.setAttribute("role", "cell");
		const row = make("tr", {}, ...heads, last);
		row.setAttribute("role", "row");
		row.dataset.same = group.same;
		row.dataset.color = group.same === "no" ? "DIFFERS" : group.color;
		return row;
	});
	const head = (text) => {
		const element = make("th", { scope: "col" }, make("bdi", { textContent: text }));
		element.setAttribute("role", "columnheader");
		return element;
	};
	entry.querySelector("thead th").replaceWith(head(mine), head(name));
	entry.querySelector("tbody").replaceChildren(...rows);
	entry.querySelector(".bar").remove();
	return entry;
}

async function load(file) {
	try {
		if (file.size > MAX_FILE) {
			throw new NoTable("it is too large");
		}
		let entry;
		try {
			entry = compare(file.name, JSON.parse(await file.text()));
		} catch (error) {
			throw error instanceof NoTable ? error : new NoTable("it is not what table --json prints");
		}
		choices();
		recall();
		form.querySelector(`input[name="arch"][value="${entry.dataset.arch}"]`).checked = true;
		$("differs").checked = true;
		// One comparison at a time: the page has the first table no more.
		$("file").disabled = true;
		$("loaded").textContent = "compared as it is written; reload the page for another";
		update();
	} catch (error) {
		$("loaded").textContent = `${file.name}: ${error.message}`;
	}
}

function update() {
	show();
	remember();
}

for (const entry of entries) {
	entry.append(make("p", { className: "none", hidden: true, textContent: "No system call is like that." }));
}
choices();
$("comparing").hidden = document.querySelector("tr[data-same]") !== null;
form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => {
	event.preventDefault();
	$("query").value = "";
	$("differs").checked = false;
	for (const input of form.querySelectorAll('input[name="action"]')) {
		input.checked = false;
	}
	update();
});
$("file").addEventListener("change", (event) => event.target.files[0] && load(event.target.files[0]));
addEventListener("hashchange", recall);
form.hidden = false;
$("entries")?.setAttribute("hidden", "");
recall();
