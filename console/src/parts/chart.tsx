/** Curves over steps: drag or keys to zoom and to see all, values at the cursor, a picture. */
import { CameraOutlined, ExpandOutlined } from "@ant-design/icons";
import { Button, Tooltip } from "antd";
import { useEffect, useId, useMemo, useRef, type KeyboardEvent } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useLook } from "../app/look";
import { CURVES, type Look } from "../app/theme";
import { aligned } from "../logic/curves";
import { short } from "../logic/format";
import { moved, zoomed } from "../logic/zoom";
import { useTexts } from "../texts/language";
import { download } from "./download";

export interface Curve {
  name: string;
  steps: readonly number[];
  values: readonly (number | null)[];
  /** Which colour; curves of one colour belong together. */
  colour: number;
  faint?: boolean;
  points?: boolean;
}

const MOST_DOTS = 200;

interface Props {
  title: string;
  curves: Curve[];
  format?: (value: number) => string;
  height?: number;
  /** What stands below it, such as a value to compare with. */
  about?: string;
}

export function Chart({ title, curves, format = short, height = 220, about }: Props) {
  const texts = useTexts();
  const { look } = useLook();
  const keysId = useId();
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const data = useMemo(
    () => aligned(curves.map((each) => each.steps), curves.map((each) => each.values)),
    [curves],
  );
  const latest = useRef(data);
  useEffect(() => {
    latest.current = data;
  }, [data]);
  // A chart is made anew when its lines change, and only gets new numbers otherwise.
  const lines = JSON.stringify(curves.map(({ name, colour, faint, points, steps }) => [name, colour, faint, points && steps.length <= MOST_DOTS]));

  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const options = optionsOf(curves, look, element.clientWidth || 300, height, format, texts("chart.step"));
    const made = new uPlot(options, latest.current as uPlot.AlignedData, element);
    plot.current = made;
    const follow = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height }));
    follow.observe(element);
    return () => {
      follow.disconnect();
      made.destroy();
      plot.current = null;
    };
    // eslint-disable-next-line react-hooks/exhaustive-deps -- `lines` says what of `curves` matters
  }, [lines, look, height, format, texts]);

  useEffect(() => {
    const shown = plot.current;
    if (!shown) return;
    const { min, max } = shown.scales.x ?? {};
    const before = shown.data[0];
    const isZoomed = min !== undefined && max !== undefined && (min > (before[0] ?? 0) || max < (before.at(-1) ?? 0));
    shown.setData(data as uPlot.AlignedData, !isZoomed);
  }, [data]);

  return (
    <section className="chart" aria-label={title}>
      <div className="tools">
        <h3>{title}</h3>
        <Tooltip title={texts("chart.all")}>
          <Button
            type="text"
            size="small"
            icon={<ExpandOutlined />}
            aria-label={texts("chart.all")}
            onClick={() => plot.current?.setData(plot.current.data, true)}
          />
        </Tooltip>
        <Tooltip title={texts("chart.picture")}>
          <Button
            type="text"
            size="small"
            icon={<CameraOutlined />}
            aria-label={texts("chart.picture")}
            onClick={() => plot.current && savePicture(plot.current, title, look)}
          />
        </Tooltip>
      </div>
      <div
        ref={place}
        className="plot"
        style={{ minHeight: height }}
        tabIndex={0}
        role="group"
        aria-label={title}
        aria-describedby={keysId}
        onKeyDown={(event) => plot.current && followKey(plot.current, event)}
      />
      <div id={keysId} className="quiet keys">
        {texts("chart.keys")}
      </div>
      {about && <div className="quiet about">{about}</div>}
    </section>
  );
}

/** Arrows move the cursor from point to point, + and - zoom around it, 0 shows all. */
function followKey(plot: uPlot, event: KeyboardEvent) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = plot.data[0];
  const [first, last] = [steps[0], steps.at(-1)];
  const { min, max } = plot.scales.x ?? {};
  if (first === undefined || last === undefined || min == null || max == null) return;
  const { idx } = plot.cursor;
  const at = (idx == null ? undefined : steps[idx]) ?? (min + max) / 2;
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const step = steps[moved(event.key, idx, steps.length, event.shiftKey)] ?? first;
    if (step < min || step > max) plot.setScale("x", { min: min + step - at, max: max + step - at });
    // A new scale counts from the next microtask on.
    const top = plot.bbox.height / 2 / uPlot.pxRatio;
    queueMicrotask(() => plot.setCursor({ left: plot.valToPos(step, "x"), top }));
  } else if (["+", "=", "-"].includes(event.key)) {
    const [low, high] = zoomed([min, max], [first, last], at, event.key === "-" ? 2 : 0.5);
    plot.setScale("x", { min: low, max: high });
  } else if (event.key === "0") {
    plot.setData(plot.data, true);
  } else return;
  event.preventDefault();
}

function optionsOf(
  curves: Curve[],
  look: Look,
  width: number,
  height: number,
  format: (value: number) => string,
  step: string,
): uPlot.Options {
  const text = look === "dark" ? "rgba(255,255,255,0.65)" : "rgba(0,0,0,0.65)";
  const grid = { stroke: look === "dark" ? "rgba(255,255,255,0.07)" : "rgba(0,0,0,0.06)", width: 1 };
  const axis: uPlot.Axis = { stroke: text, grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width,
    height,
    cursor: { drag: { x: true, y: false }, focus: { prox: 24 } },
    scales: { x: { time: false } },
    axes: [
      { ...axis, size: 28, values: (_plot, splits) => splits.map((value) => (Number.isInteger(value) ? String(value) : "")) },
      { ...axis, size: 58, values: (_plot, splits) => splits.map((value) => format(value)) },
    ],
    series: [
      { label: step, value: (_plot, value) => (value == null ? "–" : String(value)) },
      ...curves.map((each) => seriesOf(each, look, format)),
    ],
  };
}

function seriesOf(curve: Curve, look: Look, format: (value: number) => string): uPlot.Series {
  const palette = CURVES[look];
  const colour = palette[curve.colour % palette.length] ?? "#888";
  return {
    label: curve.name,
    stroke: curve.faint ? `${colour}55` : colour,
    width: curve.faint ? 1 : 2,
    // A dot for each of thousands of points is a thick line, and takes most of the time of a picture.
    points: { show: (curve.points ?? false) && curve.steps.length <= MOST_DOTS ? true : curve.steps.length === 1, size: 6, fill: colour },
    value: (_plot, value) => (value == null ? "–" : format(value)),
  };
}

const LEGEND = 24;

/** The canvas on a background, with its title above and what each line is below. */
function savePicture(plot: uPlot, title: string, look: Look) {
  const { canvas } = plot.ctx;
  const ratio = window.devicePixelRatio || 1;
  const head = 32 * ratio;
  const picture = document.createElement("canvas");
  const pen = picture.getContext("2d");
  if (!pen) return;
  const font = `${12 * ratio}px system-ui, sans-serif`;
  pen.font = font;
  const entries = legendOf(plot, canvas.width / ratio, (text) => pen.measureText(text).width / ratio);
  picture.width = canvas.width;
  picture.height = canvas.height + head + (LEGEND * ((entries.at(-1)?.line ?? 0) + 1) + 8) * ratio;
  const ink = look === "dark" ? "#ffffff" : "#000000";
  pen.fillStyle = look === "dark" ? "#171b22" : "#ffffff";
  pen.fillRect(0, 0, picture.width, picture.height);
  pen.fillStyle = ink;
  pen.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  pen.fillText(title, 12 * ratio, 21 * ratio);
  pen.drawImage(canvas, 0, head);
  pen.font = font;
  for (const { label, colour, left, line } of entries) {
    const top = head + canvas.height + (line * LEGEND + 6) * ratio;
    pen.fillStyle = colour;
    pen.fillRect(left * ratio, top, 12 * ratio, 12 * ratio);
    pen.fillStyle = ink;
    pen.fillText(label, (left + 18) * ratio, top + 11 * ratio);
  }
  picture.toBlob((blob) => blob && download(blob, `${title}.png`));
}

/** Where the name of each line stands, one beside the other as far as there is room. */
function legendOf(plot: uPlot, width: number, measure: (text: string) => number) {
  let [left, line] = [12, 0];
  return plot.series.slice(1).map((series) => {
    const label = typeof series.label === "string" ? series.label : "";
    const needs = measure(label) + 36;
    if (left > 12 && left + needs > width) [left, line] = [12, line + 1];
    const stroke: unknown = typeof series.stroke === "function" ? series.stroke(plot, 0) : series.stroke;
    const entry = { label, colour: typeof stroke === "string" ? stroke : "#888", left, line };
    left += needs;
    return entry;
  });
}
