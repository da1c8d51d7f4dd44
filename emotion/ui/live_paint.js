// Evidence to colours, as emotion/render.py does it, and the two charts of the last minute.
window.emotionPaint = (() => {
  const kernels = new Map();

  // How one row of cells lies over one row of pixels: tents that each sum to 1.
  const kernel = (cells, size, origin, step) => {
    const key = [cells, size, origin, step].join();
    if (kernels.has(key)) return kernels.get(key);
    const rows = [];
    for (let c = 0; c < cells; c++) {
      const row = new Float64Array(size);
      let total = 0;
      for (let p = 0; p < size; p++) {
        row[p] = Math.max(1 - Math.abs((p + 0.5) / size - (origin + step * c)) / step, 0);
        total += row[p];
      }
      for (let p = 0; p < size; p++) row[p] /= total;
      rows.push(row);
    }
    kernels.set(key, rows);
    return rows;
  };

  // Signed evidence per area of the crop, size x size, in row order.
  const density = (face, size) => {
    const grid = face.evidence, h = grid.length, w = grid[0].length;
    const rows = kernel(h, size, face.grid_origin, face.grid_step);
    const columns = kernel(w, size, face.grid_origin, face.grid_step);
    const across = [];
    for (let i = 0; i < h; i++) {
      const line = new Float64Array(size);
      for (let j = 0; j < w; j++) {
        for (let x = 0; x < size; x++) line[x] += grid[i][j] * columns[j][x];
      }
      across.push(line);
    }
    const out = new Float64Array(size * size);
    for (let i = 0; i < h; i++) {
      for (let y = 0; y < size; y++) {
        const weight = rows[i][y] * size * size;
        if (weight) for (let x = 0; x < size; x++) out[y * size + x] += weight * across[i][x];
      }
    }
    return out;
  };

  const between = (stops, share, channel) => {
    const place = Math.min(share, 1) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    return stops[low][channel] + (place - low) * (stops[low + 1][channel] - stops[low][channel]);
  };

  const colour = (value, colours) => {
    const stops = value > 0 ? colours.for : colours.against;
    const strength = Math.min(Math.abs(value), 1);
    return [0, 1, 2].map((c) => Math.round(between(stops, strength, c))).concat(
      Math.round(255 * strength ** colours.power));
  };

  const heat = (face, size, colours) => {
    const values = density(face, size);
    const rgba = new Uint8ClampedArray(4 * size * size);
    for (let i = 0; i < values.length; i++) {
      rgba.set(colour(values[i] / face.scale, colours), 4 * i);
    }
    return rgba;
  };

  // A canvas in device pixels, cleared; returns its context and its size in CSS pixels.
  const prepare = (canvas) => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height };
  };

  const MARGIN = 84;  // for the names on the left

  const ribbon = (canvas, { bins, count, regions, limit, colours, text, emotions }) => {
    const { context, width, height } = prepare(canvas);
    const strip = 10, foot = 14, step = (width - MARGIN) / count;
    const row = (height - strip - foot) / regions.length;
    context.font = `${Math.min(12, row - 2)}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    context.fillStyle = text;
    regions.forEach((name, i) => context.fillText(name, 4, strip + (i + 0.5) * row));
    bins.forEach((bin, i) => {
      if (!bin) return;
      const x = MARGIN + i * step;
      context.fillStyle = emotions[bin.label] || text;
      context.fillRect(x, 0, step + 0.5, strip - 3);
      bin.regions.forEach((value, r) => {
        const [red, green, blue, alpha] = colour(value / limit, colours);
        if (alpha < 8) return;
        context.fillStyle = `rgba(${red},${green},${blue},${alpha / 255})`;
        context.fillRect(x, strip + r * row + 0.5, step + 0.5, row - 1);
      });
    });
    context.fillStyle = text;
    context.font = "11px system-ui, sans-serif";
    context.fillText("60 s ago", MARGIN, height - foot / 2 + 1);
    context.textAlign = "right";
    context.fillText("now", width - 4, height - foot / 2 + 1);
    context.textAlign = "left";
  };

  const lines = (canvas, { bins, count, labels, text, emotions }) => {
    const { context, width, height } = prepare(canvas);
    const top = 6, bottom = height - 6, step = (width - MARGIN) / count;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.fillStyle = text;
    context.strokeStyle = text;
    context.globalAlpha = 0.8;
    context.textAlign = "right";
    context.fillText("1", MARGIN - 6, top + 2);
    context.fillText("0", MARGIN - 6, bottom - 2);
    context.textAlign = "left";
    context.globalAlpha = 0.2;
    for (const y of [top, (top + bottom) / 2, bottom]) {
      context.beginPath();
      context.moveTo(MARGIN, y);
      context.lineTo(width, y);
      context.stroke();
    }
    context.globalAlpha = 1;
    context.lineWidth = 2;
    labels.forEach((name, k) => {
      context.strokeStyle = emotions[name] || text;
      context.beginPath();
      let open = false;
      bins.forEach((bin, i) => {
        if (!bin) { open = false; return; }
        const x = MARGIN + (i + 0.5) * step, y = bottom - bin.probabilities[k] * (bottom - top);
        if (open) context.lineTo(x, y); else context.moveTo(x - step / 2, y);
        open = true;
      });
      context.stroke();
    });
  };

  return { density, heat, ribbon, lines, prepare };
})();
