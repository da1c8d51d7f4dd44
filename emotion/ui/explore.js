// The Explore tab: hide parts of a face, ask why this and not that, compare methods and faces.
// Each pane holds one face; it sends the face along with each wish, so the server keeps nothing.
window.emotionExplore = (root, server) => {
  const box = root.querySelector(".ex");
  if (!box || box.dataset.ready) return;
  box.dataset.ready = "yes";
  const config = JSON.parse(box.dataset.config);
  const paint = window.emotionPaint, SIDE = config.side, MOST = 12e6;
  const OUTSIDE = config.regions.indexOf("outside");
  const panes = [];

  const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const textOf = (bytes) => {
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };
  const pictureOf = (base64, kind = "png") => new Promise((done, fail) => {
    const image = new Image();
    image.onload = () => done(image);
    image.onerror = fail;
    image.src = `data:image/${kind};base64,${base64}`;
  });
  const digits = (p) => (p >= 0.995 && p < 1 ? "0.99+" : p.toFixed(2));
  const signed = (v) => (v >= 0 ? "+" : "") + v.toFixed(2);
  const save = (blob, name) => {
    const link = Object.assign(document.createElement("a"),
      { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const call = async (name, data) => {
    try {
      const reply = await server[name](data);
      return reply || { error: "The server did not answer. Please try again." };
    } catch {
      return { error: "The server cannot be reached. Is it still running?" };
    }
  };

  const makePane = () => {
    const pane = box.querySelector("template").content.firstElementChild.cloneNode(true);
    const find = (selector) => pane.querySelector(selector);
    const canvas = find("canvas"), context = canvas.getContext("2d");
    const heatCanvas = document.createElement("canvas");
    // The picture's file; the faces in it; the one on show, as it is and as it is now.
    let file = null, faces = [], index = 0, face = null, now = null, regions = null;
    let crop = null, shown = null, why = null, ticket = 0, mask = new Uint8Array(SIDE * SIDE);
    let tool = "part", drawing = false, waiting = false, again = false, hover = -1, shownMethods = [];
    const probe = { get face() { return face; }, get now() { return now; }, get mask() { return mask; },
      get why() { return why; }, get regions() { return regions; }, busy: 0 };

    const value = (name) => find(`[data-set=${name}]`).value;
    const checked = (name) => find(`[data-set=${name}]`).checked;
    const say = (text) => {
      find(".ex-note").textContent = text || "";
      find(".ex-note").hidden = !text;
    };
    const options = (select, names, chosen) => {
      select.replaceChildren(...names.map((name) => new Option(name, name, false, name === chosen)));
      select.value = chosen;
    };
    options(find("[data-set=model]"), config.models, config.models[0]);
    find(".ex-model").hidden = config.models.length < 2;

    // --- opening ---------------------------------------------------------------------------------

    const open = async (blob, name, wanted = 0) => {
      if (!blob) return;
      if (blob.size > MOST) {
        say(`This file is larger than ${MOST / 1e6} MB. Please choose a smaller one.`);
        return;
      }
      const bytes = new Uint8Array(await blob.arrayBuffer());
      file = { picture: textOf(bytes), name: name || blob.name || "picture" };
      await detect(wanted);
    };

    const detect = async (wanted = 0) => {
      if (!file) return;
      const mine = ++ticket;
      pane.classList.add("ex-busy");
      const reply = await call("open", { picture: file.picture, model: value("model") });
      if (mine !== ticket) return;
      pane.classList.remove("ex-busy");
      if (reply.error) {
        say(reply.error);
        if (!face) find(".ex-body").hidden = true;
        return;
      }
      say(reply.count > reply.faces.length
        ? `${reply.count} faces found; the ${reply.faces.length} largest can be explored.` : "");
      faces = reply.faces;
      find(".ex-faces").replaceChildren(...(faces.length > 1 ? faces : []).map((one, i) => {
        const button = Object.assign(document.createElement("button"), { type: "button" });
        const image = Object.assign(new Image(),
          { src: `data:image/png;base64,${one.crop}`, alt: `Face ${i + 1}: ${one.answer}` });
        button.append(image);
        button.dataset.face = i;
        return button;
      }));
      await choose(Math.min(wanted, faces.length - 1));
    };

    const choose = async (i) => {
      index = i;
      face = faces[i];
      now = face;
      regions = bytesOf(face.regions);
      crop = await pictureOf(face.crop);
      shown = crop;
      mask = new Uint8Array(SIDE * SIDE);
      for (const b of find(".ex-faces").children) b.setAttribute("aria-pressed", Number(b.dataset.face) === i);
      const order = face.probabilities.map((p, k) => [p, face.labels[k]]).sort((a, b) => b[0] - a[0]);
      options(find("[data-set=label]"), face.labels, order[0][1]);
      options(find("[data-set=versus]"), ["anything else", ...face.labels], "anything else");
      find(".ex-body").hidden = false;
      find(".ex-intro").hidden = true;
      buildRows();
      refresh();
      ask();
    };

    // --- what is asked ---------------------------------------------------------------------------

    const base = () => ({ crop: face.crop, points: face.points, model: value("model") });
    const versus = () => (value("versus") === "anything else" ? "" : value("versus"));

    // One at a time: while an answer is awaited, changes are gathered and sent together.
    const rehide = async () => {
      if (waiting) { again = true; return; }
      const mine = ticket;
      if (!mask.some(Boolean)) {
        now = face;
        shown = crop;
        refresh();
        return;
      }
      waiting = true;
      probe.busy += 1;
      const reply = await call("ask",
        { ...base(), wish: "hide", mask: textOf(mask), infill: value("infill") });
      waiting = false;
      probe.busy -= 1;
      if (mine === ticket && mask.some(Boolean)) {
        if (reply.error) say(reply.error);
        else {
          say("");
          now = reply;
          shown = await pictureOf(reply.shown);
          refresh();
        }
      }
      if (again) { again = false; rehide(); }
    };

    const ask = async () => {
      const mine = ticket, asked = face, label = value("label");
      if (label === versus()) find("[data-set=versus]").value = "anything else";
      const other = versus();
      find(".ex-grid").replaceChildren();
      shownMethods = [];
      probe.busy += 1;
      const reply = await call("ask", { ...base(), wish: "why", label, versus: other });
      probe.busy -= 1;
      if (mine !== ticket || asked !== face || label !== value("label") || other !== versus()) return;
      if (reply.error) { say(reply.error); return; }
      why = reply;
      find(".ex-proof").innerHTML = reply.proof;  // the server's own words and pictures
      find(".ex-facs").textContent = reply.facs;
      refresh();
      if (find(".ex-methods").open) methods();
    };

    const methods = async () => {
      const grid = find(".ex-grid"), asked = face, label = value("label"), layer = value("layer");
      const key = [ticket, index, label, layer].join();
      if (grid.dataset.of === key && grid.children.length) return;
      grid.textContent = "Computing some 330 forward passes ...";
      probe.busy += 1;
      const reply = await call("ask", { ...base(), wish: "methods", label, layer });
      probe.busy -= 1;
      if (asked !== face || label !== value("label")) return;
      if (reply.error) { grid.textContent = reply.error; return; }
      const select = find("[data-set=layer]");
      select.replaceChildren(...reply.layers.map(({ name, cells }) =>
        new Option(`${name} (${cells}x${cells})`, name)));
      select.value = reply.layer;
      grid.dataset.of = [ticket, index, label, reply.layer].join();
      shownMethods = reply.methods;
      drawMethods(label);
    };

    const drawMethods = (label) => {
      find(".ex-grid").replaceChildren(...shownMethods.map((one) => {
        const figure = document.createElement("figure");
        const name = Object.assign(document.createElement("b"), { textContent: one.name });
        const text = document.createElement("figcaption");
        if (one.same_as) {
          figure.className = "ex-same";
          text.append(name, `: the same map as ${one.same_as}, by construction, at this layer. `,
            `It costs ${one.cost} more.`);
          figure.append(text);
          return figure;
        }
        const picture = Object.assign(document.createElement("canvas"), { width: 192, height: 192 });
        const c = picture.getContext("2d");
        c.drawImage(crop, 0, 0, 192, 192);
        c.globalAlpha = 0.75;
        drawHeat(one, c);
        text.append(name, `: ${signed(one.agreement)}; ${one.evidence.length}x${one.evidence[0].length}`,
          ` cells; passes: ${one.cost}. `, one.nothing ? `Nothing speaks for ${label}. ` : "", one.note);
        figure.append(picture, text);
        return figure;
      }));
    };

    // --- what is drawn ---------------------------------------------------------------------------

    const contrastOf = (result) => {
      const a = result.labels.indexOf(value("label")), b = result.labels.indexOf(versus());
      const less = (x, y) => (b < 0 ? x : x - y);
      return {
        evidence: result.evidence[a].map((row, i) => row.map((v, j) =>
          less(v, b < 0 ? 0 : result.evidence[b][i][j]))),
        bias: less(result.bias[a], result.bias[b]), logit: less(result.logits[a], result.logits[b]),
        grid_origin: result.origin, grid_step: result.step, scale: result.scale,
      };
    };

    // Evidence by region: each pixel's share, summed; the cells are spread as the server does it.
    const byRegion = (map) => {
      const sums = config.regions.map(() => 0);
      const dense = paint.density(map, SIDE);
      for (let i = 0; i < dense.length; i++) sums[regions[i]] += dense[i] / (SIDE * SIDE);
      return sums;
    };

    const drawHeat = (map, context) => {
      const canvas = context.canvas;
      if (checked("grid")) {  // the cells as they are, without smoothing
        const size = canvas.width, step = map.grid_step * size;
        map.evidence.forEach((row, i) => row.forEach((v, j) => {
          const density = v / (map.grid_step ** 2) / map.scale;
          const cell = { evidence: [[density]], grid_origin: 0.5, grid_step: 1, scale: 1 };
          const [r, g, b, a] = paint.heat(cell, 1, config.colours);
          context.fillStyle = `rgba(${r},${g},${b},${a / 255})`;
          const x = (map.grid_origin - map.grid_step / 2) * size + j * step;
          const y = (map.grid_origin - map.grid_step / 2) * size + i * step;
          context.fillRect(x, y, step - 1, step - 1);
        }));
        return;
      }
      heatCanvas.width = heatCanvas.height = SIDE;
      const data = new ImageData(paint.heat(map, SIDE, config.colours), SIDE, SIDE);
      heatCanvas.getContext("2d").putImageData(data, 0, 0);
      context.drawImage(heatCanvas, 0, 0, canvas.width, canvas.height);
    };

    const outline = (wanted, colour) => {
      const size = canvas.width / SIDE;
      context.fillStyle = colour;
      for (let y = 0; y < SIDE; y++) {
        for (let x = 0; x < SIDE; x++) {
          const i = y * SIDE + x;
          if (!wanted(i)) continue;
          const edge = x === 0 || y === 0 || x === SIDE - 1 || y === SIDE - 1 ||
            !wanted(i - 1) || !wanted(i + 1) || !wanted(i - SIDE) || !wanted(i + SIDE);
          if (edge) context.fillRect(x * size, y * size, size, size);
        }
      }
    };

    const draw = () => {
      if (!face) return;
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.imageSmoothingQuality = "high";
      context.drawImage(crop, 0, 0, canvas.width, canvas.height);
      if (mask.some(Boolean)) {  // only what is hidden comes from the changed face
        const layer = new OffscreenCanvas(canvas.width, canvas.height), c = layer.getContext("2d");
        const hole = new ImageData(SIDE, SIDE);
        mask.forEach((v, i) => { hole.data[4 * i + 3] = v ? 255 : 0; });
        const small = new OffscreenCanvas(SIDE, SIDE);
        small.getContext("2d").putImageData(hole, 0, 0);
        c.imageSmoothingEnabled = false;
        c.drawImage(small, 0, 0, canvas.width, canvas.height);
        c.globalCompositeOperation = "source-in";
        if (shown === crop) { c.fillStyle = "#78716c"; c.fillRect(0, 0, canvas.width, canvas.height); }
        else c.drawImage(shown, 0, 0, canvas.width, canvas.height);
        context.drawImage(layer, 0, 0);
      }
      if (checked("heat")) {
        context.globalAlpha = value("strength") / 100;
        drawHeat(contrastOf(now), context);
        context.globalAlpha = 1;
      }
      if (mask.some(Boolean)) outline((i) => mask[i], "rgba(255,255,255,0.85)");
      if (hover >= 0) outline((i) => regions[i] === hover, "rgba(255,196,61,0.95)");
    };

    const buildRows = () => {
      find(".ex-probs").replaceChildren(...face.labels.map((name) => {
        const row = Object.assign(document.createElement("button"), { type: "button" });
        row.dataset.label = name;
        row.append(Object.assign(document.createElement("span"), { textContent: name }),
          document.createElement("i"), document.createElement("span"));
        row.children[1].append(document.createElement("b"), document.createElement("u"));
        return row;
      }));
      find(".ex-parts").replaceChildren(...config.regions.filter((_, i) => i !== OUTSIDE).map((name) => {
        const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
        button.dataset.part = name;
        return button;
      }));
    };

    const hiddenShare = (region) => {
      let all = 0, gone = 0;
      for (let i = 0; i < mask.length; i++) if (regions[i] === region) { all += 1; gone += mask[i]; }
      return all ? gone / all : 0;
    };

    const refresh = () => {
      if (!face) return;
      const label = value("label"), other = versus(), changed = now !== face;
      const top = (result) => result.probabilities.indexOf(Math.max(...result.probabilities));
      const before = top(face), after = top(now);
      const answer = find(".ex-answer");
      answer.textContent = changed
        ? `${face.labels[before]} ${digits(face.probabilities[before])} → `
        : `${face.answer} `;
      const more = document.createElement("span");
      more.textContent = changed ? ` with ${hiddenWords()} hidden` : "";
      answer.append(changed ? `${now.labels[after]} ${digits(now.probabilities[after])}`
        : digits(face.probabilities[before]), more);
      [...find(".ex-probs").children].forEach((row, k) => {
        row.querySelector("b").style.width = `${100 * now.probabilities[k]}%`;
        row.querySelector("u").style.left = `${100 * face.probabilities[k]}%`;
        row.querySelector("u").hidden = !changed;
        row.lastChild.textContent = digits(now.probabilities[k]);
        row.setAttribute("aria-pressed", row.dataset.label === label);
      });
      find(".ex-ghost").hidden = !changed;
      for (const b of find(".ex-parts").children) {
        b.setAttribute("aria-pressed", hiddenShare(config.regions.indexOf(b.dataset.part)) > 0.5);
      }
      const map = contrastOf(now), sums = byRegion(map);
      find(".ex-sentence").textContent = changed ? "The map and the bars are of the face as it is shown now."
        : why && why.label === label ? (other ? why.contrast : why.sentence) : "";
      table(map, sums, changed);
      draw();
    };

    const hiddenWords = () => {
      const gone = config.regions.filter((_, i) => i !== OUTSIDE && hiddenShare(i) > 0.9);
      if (!gone.length) return "what you brushed";
      return gone.length > 4 ? `${gone.length} parts` : `the ${gone.join(", ")}`;
    };

    const table = (map, sums, changed) => {
      const label = value("label"), other = versus();
      const drops = why && why.label === label && !other && !changed ? why.parts : null;
      find(".ex-regions caption").textContent =
        `What each region adds to ${other ? `${label} rather than ${other}` : label}, in logits` +
        (drops ? `; grey: what hiding the region does to it (rank correlation ` +
          `${signed(drops.agreement_with_evidence)}; 1 is the best)` : "");
      const limit = Math.max(1, ...sums.map(Math.abs));
      find(".ex-regions tbody").replaceChildren(...config.regions.map((name, i) => {
        const row = document.createElement("tr");
        const bar = document.createElement("i"), fill = document.createElement("b");
        fill.className = sums[i] >= 0 ? "for" : "against";
        fill.style.width = `${50 * Math.min(Math.abs(sums[i]) / limit, 1)}%`;
        bar.append(fill);
        const cells = [bar, signed(sums[i]),
          drops && name in drops.logit_drops ? signed(-drops.logit_drops[name]) : ""].map((content) => {
          const cell = document.createElement("td");
          cell.append(content);
          return cell;
        });
        row.append(Object.assign(document.createElement("th"), { textContent: name }), ...cells);
        row.className = hiddenShare(i) > 0.5 ? "ex-gone" : "";
        return row;
      }));
      const foot = (name, number) => {
        const row = document.createElement("tr");
        row.innerHTML = "<th></th><td></td><td></td><td></td>";
        row.children[0].textContent = name;
        row.children[2].textContent = signed(number);
        return row;
      };
      find(".ex-regions tfoot").replaceChildren(foot("bias", map.bias),
        foot(other ? "sum = margin" : "sum = logit", map.logit));
    };

    // --- hiding ----------------------------------------------------------------------------------

    const toggle = (region) => {
      const hide = hiddenShare(region) <= 0.5 ? 1 : 0;
      for (let i = 0; i < mask.length; i++) if (regions[i] === region) mask[i] = hide;
      refresh();
      rehide();
    };

    const place = (event) => {
      const bounds = canvas.getBoundingClientRect();
      return [(event.clientX - bounds.left) / bounds.width * SIDE,
        (event.clientY - bounds.top) / bounds.height * SIDE];
    };

    const dab = ([x, y]) => {
      const reach = SIDE / 18;
      for (let j = Math.max(0, Math.floor(y - reach)); j < Math.min(SIDE, y + reach); j++) {
        for (let i = Math.max(0, Math.floor(x - reach)); i < Math.min(SIDE, x + reach); i++) {
          if ((i - x) ** 2 + (j - y) ** 2 <= reach ** 2) mask[j * SIDE + i] = tool === "brush" ? 1 : 0;
        }
      }
      draw();
      rehide();
    };

    const under = ([x, y]) => {
      const i = Math.min(SIDE - 1, Math.max(0, Math.floor(y))) * SIDE +
        Math.min(SIDE - 1, Math.max(0, Math.floor(x)));
      return regions[i];
    };

    canvas.addEventListener("pointerdown", (event) => {
      if (!face) return;
      if (tool === "part") { toggle(under(place(event))); return; }
      drawing = true;
      canvas.setPointerCapture(event.pointerId);
      dab(place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!face) return;
      if (drawing) { dab(place(event)); return; }
      const region = tool === "part" && event.pointerType !== "touch" ? under(place(event)) : -1;
      if (region !== hover) {
        hover = region;
        canvas.title = hover >= 0 ? config.regions[hover] : "";
        draw();
      }
    });
    for (const name of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(name, () => { if (drawing) { drawing = false; refresh(); } });
    }
    canvas.addEventListener("pointerleave", () => { hover = -1; draw(); });

    // --- controls --------------------------------------------------------------------------------

    const DO = {
      reset: () => { mask = new Uint8Array(SIDE * SIDE); rehide(); },
      keep: () => {
        if (!mask.some(Boolean)) {
          say("First press or brush what you want to keep; then everything else is hidden.");
          return;
        }
        mask = mask.map((v) => 1 - v);
        refresh();
        rehide();
      },
    };
    pane.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const { face: number, part, label, save: kind } = button.dataset;
      if (button.dataset.do) DO[button.dataset.do]();
      else if (button.dataset.tool) {
        tool = button.dataset.tool;
        canvas.classList.toggle("ex-drawing", tool !== "part");
        for (const b of pane.querySelectorAll("[data-tool]")) b.setAttribute("aria-pressed", b === button);
      } else if (number !== undefined) choose(Number(number));
      else if (part) toggle(config.regions.indexOf(part));
      else if (label) { find("[data-set=label]").value = label; refresh(); ask(); }
      else if (kind) report(kind);
    });
    pane.addEventListener("change", (event) => {
      const name = event.target.dataset.set;
      if (event.target.type === "file") { open(event.target.files[0]); event.target.value = ""; }
      else if (name === "model") { face = null; detect(index); }
      else if (name === "infill") rehide();
      else if (name === "layer") methods();
      else if (name === "grid") { draw(); if (shownMethods.length) drawMethods(value("label")); }
      else if (name === "label" || name === "versus") { refresh(); ask(); }
      else draw();
    });
    pane.addEventListener("input", (event) => { if (event.target.dataset.set === "strength") draw(); });
    find(".ex-choose").addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); find("input[type=file]").click(); }
    });
    find(".ex-methods").addEventListener("toggle", () => { if (find(".ex-methods").open) methods(); });
    for (const kind of ["dragover", "dragleave", "drop"]) {
      pane.addEventListener(kind, (event) => {
        event.preventDefault();
        pane.classList.toggle("ex-over", kind === "dragover");
        if (kind === "drop") open(event.dataTransfer.files[0]);
      });
    }

    const report = async (kind) => {
      const button = find(`[data-save=${kind}]`);
      button.disabled = true;
      const reply = await call("report", { ...file, face: index, label: value("label"),
        versus: versus(), model: value("model"), with_face: checked("face") });
      button.disabled = false;
      if (reply.error) { say(reply.error); return; }
      const types = { html: "text/html", json: "application/json", npy: "application/octet-stream" };
      const content = kind === "npy" ? bytesOf(reply.npy) : reply[kind];
      const tail = kind === "npy" ? "evidence.npy" : `report.${kind}`;
      save(new Blob([content], { type: types[kind] }), `${reply.stem}.${tail}`);
    };

    return { pane, open, probe, get file() { return file; }, take: (other) => { file = other; return detect(); } };
  };

  const addPane = () => {
    const made = makePane();
    panes.push(made);
    box.querySelector(".ex-panes").append(made.pane);
    return made;
  };
  addPane();

  const compare = box.querySelector("[data-do=compare]");
  compare.addEventListener("click", () => {
    const two = panes.length < 2;
    if (two) {
      const second = addPane();
      if (panes[0].file) second.take(panes[0].file);  // so that faces or models can be compared
    } else panes.pop().pane.remove();
    box.querySelector(".ex-panes").classList.toggle("ex-two", two);
    compare.setAttribute("aria-pressed", two);
  });

  box.querySelector(".ex-examples").append(...config.examples.map(({ name, picture }) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
    button.addEventListener("click", async () => {
      const target = panes[panes.length - 1];
      await target.open(new Blob([bytesOf(picture)]), `${name}.jpg`);
    });
    return button;
  }));

  document.addEventListener("paste", (event) => {
    if (!box.offsetParent) return;  // another tab is in front
    const picture = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (picture) panes[panes.length - 1].open(picture);
  });

  window.emotionLensExplore = { panes };
};

// The Image tab hands over its photo and the face that was pressed. The tab's component may not be
// there yet: it is made when the tab is opened for the first time.
window.emotionExploreOpen = async (url, name, index) => {
  [...document.querySelectorAll("button[role=tab]")]
    .find((tab) => tab.textContent.trim() === "Explore")?.click();
  const picture = await (await fetch(url)).blob();
  for (let i = 0; i < 100 && !window.emotionLensExplore; i++) {
    await new Promise((done) => setTimeout(done, 50));
  }
  const pane = window.emotionLensExplore.panes[0];
  await pane.open(picture, name, index);
  pane.pane.scrollIntoView({ block: "start" });
};
