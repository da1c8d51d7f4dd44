// The Live tab: takes frames from the camera, asks the server about one at a time, and draws.
window.emotionLive = (root, server) => {
  const live = root.querySelector(".live");
  if (!live || live.dataset.ready) return;
  live.dataset.ready = "yes";
  const config = JSON.parse(live.dataset.config);
  const find = (selector) => live.querySelector(selector);
  const video = find("video"), over = find(".live-over"), stage = find(".live-stage");
  const frozen = find(".live-frozen"), note = find(".live-note"), figures = find(".live-figures");
  const grabber = document.createElement("canvas");
  const heatCanvas = document.createElement("canvas");
  heatCanvas.width = heatCanvas.height = config.heatSide;
  const paint = window.emotionPaint;

  const SECONDS = 60, BINS = 240, MOST_ROWS = 20000;
  const SIDES = [320, 400, 480];
  const viewer = [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");

  let track = null, run = 0, answer = null, sent = null, side = 480;
  let failures = 0, lastSaid = "", saidAt = 0, busySince = 0, chartAt = 0;
  const bins = new Map(), trips = [], latencies = [], painted = [];
  // The numbers that can be saved, the last MOST_ROWS of them. The memory is taken once, so that
  // the page does not grow while it runs.
  const WIDTH = 7 + config.labels.length + config.regions.length;
  const numbers = new Float64Array(MOST_ROWS * WIDTH), phrases = new Map();
  let rowCount = 0;
  const addRow = (seconds, one) => {
    const phrase = JSON.stringify([one.label, one.answer, one.why]);
    if (!phrases.has(phrase)) phrases.set(phrase, phrases.size);
    numbers.set([seconds, one.track, phrases.get(phrase), ...one.box, ...one.probabilities,
      ...one.region_evidence], (rowCount % MOST_ROWS) * WIDTH);
    rowCount += 1;
  };
  const savedRows = () => {
    const said = [...phrases.keys()].map((text) => JSON.parse(text));
    const first = Math.max(0, rowCount - MOST_ROWS), split = 7 + config.labels.length;
    return Array.from({ length: rowCount - first }, (_, i) => {
      const start = ((first + i) % MOST_ROWS) * WIDTH;
      const row = [...numbers.subarray(start, start + WIDTH)];
      const [label, answer, why] = said[row[2]];
      return { seconds: row[0], face: row[1], label, answer, evidence_for: why, box: row.slice(3, 7),
        probabilities: row.slice(7, split), regions: row.slice(split) };
    }).map((row, _, all) => ({ ...row, seconds: Number((row.seconds - all[0].seconds).toFixed(3)) }));
  };
  // What a test, or a curious visitor in the console, may look at.
  const probe = { state: () => (track ? track.readyState : "none"), answer: null, painted: null,
    frames: 0, busy: 0, errors: 0, latencies, trips, get track() { return track; }, server,
    viewer, config };
  window.emotionLensLive = probe;

  const settings = () => {
    const value = (name) => find(`[data-set=${name}]`);
    return {
      label: value("label").value, heat: value("heat").checked, mirror: value("mirror").checked,
      strength: value("strength").value / 100, smoothing: Number(value("smoothing").value),
      detector: value("detector").value, camera: value("camera").value,
    };
  };
  const show = (selector, visible) => {
    for (const element of live.querySelectorAll(selector)) element.hidden = !visible;
  };
  const say = (words) => { note.textContent = words; note.hidden = !words; };
  const enable = (name, on) => { find(`[data-do=${name}]`).disabled = !on; };

  // --- the camera --------------------------------------------------------------------------------

  const REASONS = {
    NotAllowedError: "The browser does not let this page use the camera. Allow it in the address " +
      "bar (the camera sign), then press Start again.",
    NotFoundError: "There is no camera on this device. You can still drop a photo into the Image tab.",
    NotReadableError: "The camera does not start: another program may be using it. Close that one, " +
      "then press Start again.",
    OverconstrainedError: "That camera is not there any more. Choose another one, then press Start.",
    AbortError: "The camera stopped while it was starting. Press Start again.",
  };

  const cameraError = (error) => REASONS[error.name] ||
    `The camera does not start (${error.message || error.name}). Press Start again.`;

  const listCameras = async () => {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const cameras = devices.filter((device) => device.kind === "videoinput");
    const select = find("[data-set=camera]"), chosen = track && track.getSettings().deviceId;
    select.replaceChildren(...cameras.map((camera, i) =>
      new Option(camera.label || `Camera ${i + 1}`, camera.deviceId, false, camera.deviceId === chosen)));
    show(".live-camera", cameras.length > 1);
  };

  const start = async () => {
    if (track) return;
    if (!window.isSecureContext || !navigator.mediaDevices) {
      say("Browsers give the camera only to pages served over https or from localhost. Open this " +
        "page at such an address.");
      return;
    }
    const mine = ++run;
    say("");
    const wish = settings();
    const device = wish.camera ? { deviceId: { exact: wish.camera } } : { facingMode: "user" };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia(
        { audio: false, video: { width: { ideal: 640 }, height: { ideal: 480 }, ...device } });
    } catch (error) {
      say(cameraError(error));
      return;
    }
    if (mine !== run) {  // stopped, or started again, while the browser was asking
      stream.getTracks().forEach((other) => other.stop());
      return;
    }
    [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => halt("The camera was taken away. Press Start to go on."));
    video.srcObject = stream;
    await video.play().catch(() => {});
    stage.style.aspectRatio = `${video.videoWidth || 4} / ${video.videoHeight || 3}`;
    unfreeze();
    show(".live-start, .live-empty", false);
    show(".live-stop, .live-figures", true);
    for (const name of ["freeze", "calibrate"]) enable(name, true);
    listCameras().catch(() => {});
    loop(mine);
  };

  const halt = (words = "") => {
    run += 1;
    if (track) track.stop();
    if (video.srcObject) video.srcObject.getTracks().forEach((other) => other.stop());
    const was = track !== null;
    probe.last = track;
    track = null;
    video.srcObject = null;
    if (!was) return;
    unfreeze();
    answer = null;
    paint.prepare(over);
    show(".live-start, .live-empty", true);
    show(".live-stop, .live-figures", false);
    for (const name of ["freeze", "calibrate"]) enable(name, false);
    say(words);
    call("command", { viewer, name: "forget" });
  };

  // --- asking the server -------------------------------------------------------------------------

  const call = async (name, data) => {
    try {
      return await server[name](data);
    } catch {
      return undefined;
    }
  };

  // When the newest frame came; a frame that came while an answer was awaited is taken at once.
  let newest = 0, used = 0, onFrame = null;
  const watchFrames = (mine) => {
    if (mine !== run) return;
    newest = performance.now();
    if (onFrame) onFrame();
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(() => watchFrames(mine));
    else requestAnimationFrame(() => watchFrames(mine));
  };

  // Wait for a frame that was not used yet (but not for ever); return when it came.
  const nextFrame = async () => {
    if (newest <= used) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, 250);
        onFrame = () => { clearTimeout(timer); resolve(); };
      });
      onFrame = null;
    }
    used = newest;
    return newest;
  };

  const grab = () => {
    const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
    grabber.width = Math.round(video.videoWidth * scale);
    grabber.height = Math.round(video.videoHeight * scale);
    grabber.getContext("2d").drawImage(video, 0, 0, grabber.width, grabber.height);
    return grabber.toDataURL("image/jpeg", 0.8);
  };

  const loop = async (mine) => {
    watchFrames(mine);
    while (mine === run) {
      const came = await nextFrame();
      if (mine !== run) return;
      if (!video.videoWidth || frozen.src && !frozen.hidden) {
        await new Promise((resolve) => setTimeout(resolve, 60));
        continue;
      }
      const wish = settings(), at = performance.now(), picture = grab();
      const reply = await call("frame", {
        viewer, at: at / 1000, jpeg: picture.slice(picture.indexOf(",") + 1),
        label: wish.label, smoothing: wish.smoothing, detector: wish.detector,
      });
      if (mine !== run) return;
      if (!reply) { if (await failed()) return; continue; }
      failures = 0;
      if (reply.busy) { await wait(at); continue; }
      busySince = 0;
      if (reply.error) {
        probe.errors += 1;
        say(reply.error);
        await new Promise((resolve) => setTimeout(resolve, 500));
        continue;
      }
      say("");
      sent = picture;
      take(reply, at);
      draw();
      measure(came, at, reply);
    }
  };

  // No answer at all: after three in a row the plain stream of Gradio takes over.
  const failed = async () => {
    failures += 1;
    if (failures < 3) {
      await new Promise((resolve) => setTimeout(resolve, 200 * failures));
      return false;
    }
    halt("The live view gets no answer here, so the plain camera view below takes its place.");
    const fallback = document.querySelector("#live-fallback");
    if (fallback) fallback.classList.add("needed");
    return true;
  };

  const wait = async (at) => {
    probe.busy += 1;
    busySince = busySince || at;
    if (at - busySince > 1500) say("Many people are watching: frames come more slowly now.");
    await new Promise((resolve) => setTimeout(resolve, 30 + 60 * Math.random()));
  };

  const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

  // Latency counts from the frame's coming, the round trip from its sending.
  const measure = (came, at, reply) => {
    const now = performance.now();
    trips.push(now - at);
    latencies.push(now - came);
    painted.push(now);
    if (trips.length > 600) { trips.shift(); latencies.shift(); }
    while (painted.length && painted[0] < now - 2000) painted.shift();
    probe.frames += 1;
    if (probe.frames % 10 === 0) {
      const trip = median(latencies.slice(-60)), stages = Object.entries(reply.stages)
        .map(([name, value]) => `${name} ${value.toFixed(0)}`).join(", ");
      const span = painted.length > 1 ? (now - painted[0]) / 1000 : 1;
      figures.textContent = `${(painted.length / Math.max(span, 0.1)).toFixed(0)} frames/s, ` +
        `${trip.toFixed(0)} ms${live.clientWidth > 600 ? ` (${stages} ms)` : ""}`;
    }
    if (probe.frames % 30 === 0) adapt(median(trips.slice(-30)));
  };

  // A slow way to the server gets smaller frames, a fast one the full size again.
  const adapt = (trip) => {
    const place = SIDES.indexOf(side);
    if (trip > 90 && place > 0) side = SIDES[place - 1];
    else if (trip < 45 && place < SIDES.length - 1) side = SIDES[place + 1];
  };

  // --- what came back ----------------------------------------------------------------------------

  const largest = () => answer && answer.faces[0];

  const take = (reply, at) => {
    answer = reply;
    probe.answer = reply;
    const face = largest(), seconds = at / 1000;
    for (const one of reply.faces) addRow(seconds, one);
    if (rowCount) for (const name of ["csv", "json", "png"]) enable(name, true);
    if (face) collect(face, seconds);
    describe(face, at);
    if (at - chartAt > (calm.matches ? 1000 : 250)) { chartAt = at; charts(); }
  };
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  // A quarter of a second of the largest face: means of what it said.
  const collect = (face, seconds) => {
    const key = Math.floor(seconds * BINS / SECONDS);
    let bin = bins.get(key);
    if (!bin) {
      bin = { count: 0, regions: face.region_evidence.map(() => 0),
        probabilities: face.probabilities.map(() => 0), label: face.label };
      bins.set(key, bin);
      for (const old of bins.keys()) if (old <= key - BINS) bins.delete(old);
    }
    bin.count += 1;
    bin.label = face.label;
    const blend = (list, values) => values.forEach((v, i) => { list[i] += (v - list[i]) / bin.count; });
    blend(bin.regions, face.region_evidence);
    blend(bin.probabilities, face.probabilities);
  };

  const series = () => {
    const last = Math.max(...bins.keys());
    return Array.from({ length: BINS }, (_, i) => bins.get(last - BINS + 1 + i) || null);
  };

  const charts = () => {
    if (!bins.size) return;
    const text = getComputedStyle(live).color;
    const shown = series().map((bin) => bin && { ...bin, regions: asSeen(bin.regions) });
    const common = { bins: shown, count: BINS, text, emotions: config.emotions };
    paint.ribbon(find(".live-ribbon"), { ...common, regions: config.regions, limit: config.limit,
      colours: config.colours });
    paint.lines(find(".live-lines"), { ...common, labels: config.labels });
  };

  // --- words and bars ----------------------------------------------------------------------------

  const bars = (box, names) => {
    box.replaceChildren(...names.map((name) => {
      const row = document.createElement("div");
      row.className = "live-row";
      row.append(Object.assign(document.createElement("span"), { textContent: name }),
        document.createElement("i"), document.createElement("span"));
      row.children[1].append(document.createElement("b"));
      return row;
    }));
    return [...box.children].map((row) => ({ row, bar: row.querySelector("b"), value: row.lastChild }));
  };
  const probabilityBars = bars(find(".live-probs"), config.labels);
  const regionBars = bars(find(".live-regions"), config.regions);

  // Sides are those of the picture. In a mirror the left cheek is on the right, so it is called so.
  const swapped = config.regions.map((name) => config.regions.indexOf(
    name.startsWith("left ") ? name.replace("left", "right") : name.replace("right", "left")));
  const asSeen = (values) => (settings().mirror ? swapped.map((i) => values[i]) : values);

  const describe = (face, at) => {
    const several = answer.faces.length > 1 ? ` (${answer.faces.length} faces; this is the largest)` : "";
    find(".live-answer").textContent = face ? face.answer : "no face in view";
    let hint = face ? (face.notes[0] || several.trim()) : "Look towards the camera, not too far away.";
    if (answer.calibrating !== null) hint = "Learning your resting face: look as you do at rest.";
    else if (face && face.calibrated) hint = `Your resting face is taken into account.${several}`;
    find(".live-hint").textContent = hint;
    show("[data-do=uncalibrate]", Boolean(face && face.calibrated));
    find(".live-why").textContent = face ? face.why : "the answer";
    probabilityBars.forEach(({ row, bar, value }, i) => {
      const share = face ? face.probabilities[i] : 0;
      bar.style.width = `${100 * share}%`;
      bar.style.background = config.emotions[config.labels[i]];
      value.textContent = face ? digits(share) : "";
      row.classList.toggle("top", Boolean(face) && config.labels[i] === face.label);
    });
    const regions = face ? asSeen(face.region_evidence) : [];
    regionBars.forEach(({ bar, value }, i) => {
      const logits = face ? regions[i] : 0;
      const width = 50 * Math.min(Math.abs(logits) / config.limit, 1);
      bar.style.width = `${width}%`;
      bar.style.left = logits >= 0 ? "50%" : `${50 - width}%`;
      bar.style.background = logits >= 0 ? "#ea580c" : "#2563eb";
      value.textContent = face ? (logits >= 0 ? "+" : "−") + Math.abs(logits).toFixed(1) : "";
    });
    const said = face ? face.answer : "no face in view";
    if (said !== lastSaid && at - saidAt >= 1000) {
      lastSaid = said;
      saidAt = at;
      find(".live-said").textContent = said;
    }
  };

  const digits = (share) => (share >= 0.995 && share < 1 ? "0.99+" : share.toFixed(2));

  // --- drawing over the picture ------------------------------------------------------------------

  const draw = () => {
    const { context, width, height } = paint.prepare(over);
    if (!answer) return;
    const wish = settings();
    stage.classList.toggle("mirrored", wish.mirror);
    const scale = Math.min(width / answer.width, height / answer.height);
    const left = (width - scale * answer.width) / 2, top = (height - scale * answer.height) / 2;
    probe.painted = null;
    for (const face of answer.faces) {
      if (wish.heat && wish.strength > 0) drawHeat(context, face, { wish, scale, left, top, width });
    }
    for (const face of answer.faces) drawBox(context, face, { wish, scale, left, top, width });
  };

  const drawHeat = (context, face, { wish, scale, left, top, width }) => {
    const size = config.heatSide;
    const pixels = paint.heat(face, size, config.colours);
    probe.painted = probe.painted || { evidence: face.evidence, pixels, track: face.track };
    heatCanvas.getContext("2d").putImageData(new ImageData(pixels, size, size), 0, 0);
    const [[a, b, c], [d, e, f]] = face.to_crop;
    const det = a * e - b * d;  // units of the crop back to pixels of the picture
    const back = [e / det, -d / det, -b / det, a / det, (b * f - c * e) / det, (c * d - a * f) / det];
    context.save();
    if (wish.mirror) { context.translate(width, 0); context.scale(-1, 1); }
    context.translate(left, top);
    context.scale(scale, scale);
    context.transform(...back);
    context.globalAlpha = wish.strength;
    context.imageSmoothingEnabled = true;
    context.drawImage(heatCanvas, 0, 0, 1, 1);
    context.restore();
  };

  const drawBox = (context, face, { wish, scale, left, top, width }) => {
    let [x1, y1, x2, y2] = face.box.map((v, i) => v * scale + (i % 2 ? top : left));
    if (wish.mirror) [x1, x2] = [width - x2, width - x1];
    context.lineWidth = 2.5;
    context.strokeStyle = config.emotions[face.label] || "#ffc43d";
    context.beginPath();
    if (context.roundRect) context.roundRect(x1, y1, x2 - x1, y2 - y1, 8);
    else context.rect(x1, y1, x2 - x1, y2 - y1);
    context.stroke();
    const size = Math.max(13, Math.min((x2 - x1) / 8, 22));
    const top_ = face.probabilities[config.labels.indexOf(face.label)];
    const text = face.sure && face.answer === face.label ? `${face.answer} ${digits(top_)}` : face.answer;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textBaseline = "bottom";
    const y = y1 > size * 1.6 ? y1 - 4 : y2 + size * 1.4;
    const x = Math.max(4, Math.min(x1, width - context.measureText(text).width - 6));
    context.lineWidth = size / 4;
    context.lineJoin = "round";
    context.strokeStyle = "rgba(15, 12, 8, 0.85)";
    context.strokeText(text, x, y);
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  };

  // --- buttons -----------------------------------------------------------------------------------

  const freeze = () => {
    if (!sent || !track) return;
    frozen.src = sent;
    frozen.hidden = false;
    const button = find("[data-do=freeze]");
    button.textContent = "Go on";
    button.setAttribute("aria-pressed", "true");
    show("[data-do=open]", true);
  };

  const unfreeze = () => {
    frozen.hidden = true;
    frozen.removeAttribute("src");
    const button = find("[data-do=freeze]");
    button.textContent = "Freeze";
    button.setAttribute("aria-pressed", "false");
    show("[data-do=open]", false);
  };

  // The frozen frame goes the way of any photo that a visitor drops into the Image tab.
  const openInImageTab = async () => {
    const blob = await (await fetch(sent)).blob();
    const files = new DataTransfer();
    files.items.add(new File([blob], "frame.jpg", { type: "image/jpeg" }));
    const input = document.querySelector("#photo input[type=file]");
    if (!input) { say("The Image tab does not take the frame just now; save it as a photo instead."); return; }
    halt();
    [...document.querySelectorAll("button[role=tab]")]
      .find((tab) => tab.textContent.trim() === "Image")?.click();
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };

  const save = (blob, name) => {
    const link = Object.assign(document.createElement("a"),
      { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  const saveCsv = () => {
    const head = ["seconds", "face", "label", "answer", "evidence_for", "x1", "y1", "x2", "y2",
      ...config.labels, ...config.regions.map((name) => name.replaceAll(" ", "_"))];
    const body = savedRows().map((row) => [row.seconds.toFixed(3), row.face, row.label, row.answer,
      row.evidence_for, ...row.box, ...row.probabilities.map((v) => v.toFixed(4)),
      ...row.regions.map((v) => v.toFixed(4))].join());
    save(new Blob([[head.join(), ...body].join("\n") + "\n"], { type: "text/csv" }), "emotions.csv");
  };

  const saveJson = () => {
    const content = { model: config.model, labels: config.labels, regions: config.regions,
      frames: savedRows() };
    save(new Blob([JSON.stringify(content)], { type: "application/json" }), "emotions.json");
  };

  const savePng = () => {
    charts();
    const ribbon = find(".live-ribbon"), copy = document.createElement("canvas");
    copy.width = ribbon.width;
    copy.height = ribbon.height;
    const context = copy.getContext("2d");
    context.fillStyle = getComputedStyle(ribbon).backgroundColor;
    context.fillRect(0, 0, copy.width, copy.height);
    context.drawImage(ribbon, 0, 0);
    copy.toBlob((blob) => save(blob, "regions.png"));
  };

  const DO = {
    start, stop: () => halt(), csv: saveCsv, json: saveJson, png: savePng, open: openInImageTab,
    freeze: () => (frozen.hidden ? freeze() : unfreeze()),
    calibrate: () => call("command", { viewer, name: "calibrate" }),
    uncalibrate: () => call("command", { viewer, name: "uncalibrate" }),
  };
  live.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (button) DO[button.dataset.do]();
  });
  live.addEventListener("input", (event) => {
    if (event.target.dataset.set === "camera" && track) {
      halt();
      start();
    } else draw();
  });

  // --- the camera goes off by itself -------------------------------------------------------------

  document.addEventListener("visibilitychange", () => {
    if (document.hidden && track) halt("Stopped, since the page was hidden. Press Start to go on.");
  });
  window.addEventListener("pagehide", () => halt());
  new IntersectionObserver(() => {
    if (live.offsetParent === null && track) halt("Stopped, since another tab was chosen.");
  }).observe(live);
  new ResizeObserver(() => { draw(); charts(); }).observe(live);

  find("[data-set=label]").append(...config.labels.map((name) => new Option(name, name)));
  find("[data-set=detector]").append(...config.detectors.map((name) => new Option(name, name)));
  find(".live-legend").innerHTML = config.labels.map((name) =>
    `<span><i style="background:${config.emotions[name]}"></i>${name}</span>`).join("");
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  find(".live-where").textContent = local
    ? "Each frame is read in memory and dropped at once. Nothing is stored, nothing leaves this machine."
    : `Each frame goes to the machine that serves this page (${location.hostname}), is read in ` +
      "memory and dropped at once. Nothing is stored.";
};
