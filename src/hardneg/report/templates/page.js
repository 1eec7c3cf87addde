"use strict";
(() => {
  const number = (text) => {
    const match = text.replace(/,(?=\d{3})/g, "").match(/^[^\d]{0,3}?([-+]?\d+(\.\d+)?)/);
    return match ? parseFloat(match[1]) : null;
  };
  document.querySelectorAll(".table").forEach((box) => {
    const body = box.querySelector("tbody"), heads = [...box.querySelectorAll("thead th")];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "none" ? !head.dataset.text : head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => {
        const text = row.cells[column].textContent.trim();
        return [head.dataset.text ? text.toLowerCase() : number(text), row];
      });
      const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b) * (descending ? -1 : 1);
      rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : order(a, b)));
      rows.forEach(([, row]) => body.append(row));
    }));
    const filter = box.querySelector("input[type=search]"), status = box.querySelector("[role=status]");
    if (filter) filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      [...body.rows].forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      });
      status.textContent = `${shown} of ${body.rows.length} rows`;
    });
  });

  const section = document.getElementById("explorer");
  if (!section) return;
  const find = (name) => section.querySelector(`[data-part=${name}]`);
  const controls = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g;  // as hardneg.plain_text
  const escaped = (one) => { const code = one.charCodeAt(0); return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`; };
  const plain = (text) => text.replace(controls, escaped);
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = plain(text);
    if (name) element.className = name;
    return element;
  };
  const fill = (select, labels) => select.replaceChildren(...labels.map(([value, label]) => new Option(plain(label), value)));

  const start = (data) => {
    const split = find("split"), search = find("search"), list = find("users"), first = find("first"), second = find("second");
    const title = (item) => now().items[item][1];
    const entry = (item, extra, name) => {
      const line = make("li", title(item), name);
      line.title = plain(now().items[item][0]);
      if (extra) line.append(make("span", ` ${extra}`, "soft"));
      return line;
    };
    const lines = (tag, items) => { const box = make(tag); box.append(...items); return box; };
    const now = () => data.splits[split.value];

    const showUser = () => {
      const out = find("out"), user = now().users[list.value];
      if (!user) { out.replaceChildren(make("p", "No user matches.")); return; }
      const history = make("div", undefined, "card");
      history.append(make("h3", `User ${user.id}: ${user.n_history} train items`));
      if (user.profile) history.append(make("p", user.profile, "soft"));
      history.append(lines("ul", user.history.map((item) => entry(item))));
      if (user.n_history > user.history.length) history.append(make("p", `… and ${user.n_history - user.history.length} more`, "soft"));
      const held = make("div", undefined, "card");
      held.append(make("h3", "Held-out items and their ranks"));
      const runs = [...new Set([first.value, second.value])];
      held.append(lines("ul", user.held.map((item, place) => entry(item, runs.map((run) => `${now().runs[run]}: rank ${user.ranks[run][place]}`).join("; ")))));
      if (!user.held.length) held.append(make("p", "none", "soft"));
      const tops = runs.map((run) => {
        const box = make("div", undefined, "card");
        box.append(make("h3", now().runs[run]), make("p", "Best items outside the train items; held-out ones are marked.", "soft"));
        box.append(lines("ol", user.top[run].map((item) => user.held.includes(item) ? entry(item, "(held out)", "hit") : entry(item))));
        return box;
      });
      const draws = runs.filter((run) => user.draws[run]).map((run) => {
        const box = make("details", undefined, "card"), drawn = user.draws[run];
        const negatives = drawn.map(([positive, part, item]) => entry(item, `for ${title(positive)}: ${part}`));
        box.append(make("summary", `Negatives that ${now().runs[run]} drew in its last epoch`), lines("ul", negatives));
        return box;
      });
      const top = make("div", undefined, "columns");
      top.append(history, held, ...tops);
      const bottom = make("div", undefined, "columns");
      bottom.append(...draws);
      out.replaceChildren(top, bottom);
    };
    const listUsers = () => {
      const words = search.value.toLowerCase().trim();
      const matches = (user) => user.id.toLowerCase().includes(words) || [...user.history, ...user.held].some((item) => title(item).toLowerCase().includes(words));
      const found = now().users.map((user, place) => [place, user]).filter(([, user]) => !words || matches(user));
      fill(list, found.map(([place, user]) => [place, user.id + (Object.keys(user.draws).length ? " (with negatives)" : "")]));
      list.selectedIndex = 0;
      find("found").textContent = `${found.length} of ${now().users.length} users`;
      showUser();
    };
    const showSplit = () => {
      const runs = now().runs.map((name, place) => [place, name]);
      fill(first, runs); fill(second, runs);
      second.selectedIndex = Math.min(1, runs.length - 1);
      find("note").textContent = now().note;
      listUsers();
    };
    fill(split, data.splits.map((one, place) => [place, one.name]));
    split.addEventListener("change", showSplit);
    search.addEventListener("input", listUsers);
    [list, first, second].forEach((element) => element.addEventListener("change", showUser));
    showSplit();
    find("form").hidden = false;
    find("loading").hidden = true;
  };
  const failed = () => { find("loading").textContent = "This browser cannot unpack the data of the explorer; use one from 2023 or later."; };
  try {
    const bytes = Uint8Array.from(atob(document.getElementById("explorer-data").textContent.trim()), (one) => one.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    new Response(stream).json().then(start, failed);
  } catch (error) { failed(); }
})();
