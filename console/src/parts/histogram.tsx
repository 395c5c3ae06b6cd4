/** How many rows are how long. */
import { theme } from "antd";
import { count } from "../logic/format";
import { useTexts } from "../texts/language";

interface Props {
  title: string;
  bars: { width: number; counts: number[]; beyond: number };
}

const HEIGHT = 160;
const WIDTH = 480;

export function Histogram({ title, bars }: Props) {
  const texts = useTexts();
  const { token } = theme.useToken();
  const counts = bars.beyond > 0 ? [...bars.counts, bars.beyond] : bars.counts;
  const most = Math.max(1, ...counts);
  const step = WIDTH / Math.max(1, counts.length);
  const end = bars.width * bars.counts.length;
  return (
    <figure style={{ margin: 0 }}>
      <figcaption style={{ fontWeight: 600, marginBottom: 8 }}>{title}</figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT + 20}`}
        width="100%"
        role="img"
        aria-label={texts("stats.histogram", { end: count(end), most: count(most) })}
      >
        {counts.map((each, index) => {
          const height = (each / most) * HEIGHT;
          const from = index * bars.width;
          const label = index < bars.counts.length ? `${count(from)}–${count(from + bars.width - 1)}` : `≥ ${count(end)}`;
          return (
            <rect
              key={index}
              x={index * step + 0.5}
              y={HEIGHT - height}
              width={Math.max(1, step - 1)}
              height={height}
              fill={token.colorPrimary}
              rx={1}
            >
              <title>{`${label}: ${count(each)}`}</title>
            </rect>
          );
        })}
        <line x1={0} x2={WIDTH} y1={HEIGHT} y2={HEIGHT} stroke={token.colorBorder} />
        {[0, 0.25, 0.5, 0.75, 1].map((at) => (
          <text
            key={at}
            x={at * WIDTH}
            y={HEIGHT + 15}
            fontSize={11}
            fill={token.colorTextSecondary}
            textAnchor={at === 0 ? "start" : at === 1 ? "end" : "middle"}
          >
            {count(Math.round(at * end))}
          </text>
        ))}
      </svg>
    </figure>
  );
}
