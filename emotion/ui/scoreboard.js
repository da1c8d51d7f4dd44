// The Scoreboard tab: press a cell of the confusion matrix, see the mean evidence of its faces.
window.emotionScoreboard = (root) => {
  const box = root.querySelector(".sb");
  if (!box || box.dataset.ready) return;
  box.dataset.ready = "yes";
  const config = JSON.parse(box.dataset.config), paint = window.emotionPaint, SIDE = 96;
  const canvas = box.querySelector("canvas"), context = canvas.getContext("2d");
  const heatCanvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  // Lines of the 68 landmarks: jaw, brows, nose, eyes, lips; the last four are closed.
  const LINES = [[0, 17], [17, 22], [22, 27], [27, 31], [31, 36], [36, 42], [42, 48], [48, 60], [60, 68]];

  const outline = () => {
    context.strokeStyle = "#57534e";
    context.lineWidth = 2;
    LINES.forEach(([from, to], i) => {
      context.beginPath();
      config.face.slice(from, to).forEach(([x, y], k) =>
        context[k ? "lineTo" : "moveTo"](x * canvas.width, y * canvas.height));
      if (i > 4) context.closePath();
      context.stroke();
    });
  };

  const show = (cell) => {
    const map = { evidence: cell.evidence, grid_origin: config.origin, grid_step: config.step,
      scale: config.scale };
    context.clearRect(0, 0, canvas.width, canvas.height);
    outline();
    const data = new ImageData(paint.heat(map, SIDE, config.colours), SIDE, SIDE);
    heatCanvas.getContext("2d").putImageData(data, 0, 0);
    context.globalAlpha = 0.8;
    context.drawImage(heatCanvas, 0, 0, canvas.width, canvas.height);
    context.globalAlpha = 1;
    const right = cell.truth === cell.said;
    box.querySelector(".sb-cell h4").textContent =
      `${cell.n} face${cell.n > 1 ? "s" : ""} of ${cell.truth}` +
      `${right ? ", found" : `, taken for ${cell.said}`} (probability ${cell.probability.toFixed(2)} ` +
      `on average): mean evidence for ${cell.said}`;
    const rows = config.regions.map((name, i) => [name, cell.regions[i]])
      .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 6);
    box.querySelector(".sb-regions tbody").replaceChildren(...rows.map(([name, value]) => {
      const row = document.createElement("tr");
      for (const text of [name, (value >= 0 ? "+" : "") + value.toFixed(2)]) {
        row.append(Object.assign(document.createElement("td"), { textContent: text }));
      }
      return row;
    }));
    for (const button of box.querySelectorAll(".sb-matrix button")) {
      button.setAttribute("aria-pressed",
        button.dataset.truth === cell.truth && button.dataset.said === cell.said);
    }
  };

  box.addEventListener("click", (event) => {
    const button = event.target.closest(".sb-matrix button");
    if (!button) return;
    show(config.cells.find((cell) =>
      cell.truth === button.dataset.truth && cell.said === button.dataset.said));
  });
  show(config.cells.reduce((best, cell) => (cell.n > best.n ? cell : best)));
};
