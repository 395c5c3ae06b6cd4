/** What a job measures, as it measures it. */
import { DownloadOutlined } from "@ant-design/icons";
import { Button, Slider } from "antd";
import { useMemo, useState } from "react";
import type { JobDetails } from "../../api/jobs";
import { bytes, count, exponent, short } from "../../logic/format";
import { further, spoken, VALIDATION, type Metrics } from "../../logic/curves";
import { smooth } from "../../logic/smoothing";
import { Chart, type Curve } from "../../parts/chart";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { useTexts, type Translate } from "../../texts/language";
import { CurveAdvice } from "./advice";
import { useMetrics } from "./metrics";

interface Drawn {
  key: string;
  title: string;
  curves: Curve[];
  format?: (value: number) => string;
  about?: string;
}

export function Curves({ job }: { job: JobDetails }) {
  const texts = useTexts();
  const metrics = useMetrics(job);
  const [weight, setWeight] = useState(0.8);
  const charts = useMemo(
    () => (metrics.data ? chartsOf(metrics.data, weight, texts) : []),
    [metrics.data, weight, texts],
  );
  if (metrics.error && !metrics.data) return <ErrorBox error={metrics.error} again={metrics.again} />;
  if (metrics.data && charts.length === 0) return <Nothing text={texts("curves.none")} />;
  return (
    <>
      <div className="bar">
        <span>{texts("curves.smoothing")}</span>
        <Slider
          ariaLabelForHandle={texts("curves.smoothing")}
          style={{ width: 180 }}
          min={0}
          max={0.99}
          step={0.01}
          value={weight}
          onChange={setWeight}
        />
        <span className="grow" />
        <Button icon={<DownloadOutlined />} href={`/api/v1/jobs/${job.id}/metrics.csv`} download>
          CSV
        </Button>
      </div>
      <div style={{ marginBottom: 16 }}>
        <CurveAdvice job={job} />
      </div>
      <div className="wide-columns">
        {charts.map((each) => (
          <Chart
            key={each.key}
            title={each.title}
            curves={each.curves}
            {...(each.format ? { format: each.format } : {})}
            {...(each.about ? { about: each.about } : {})}
          />
        ))}
      </div>
    </>
  );
}

const rate = (value: number) => (value === 0 ? "0" : exponent(value, 2));
const whole = (value: number) => count(Math.round(value));
const percentage = (value: number) => `${short(value, 3)}%`;
const parts = (value: number) => `${short(100 * value, 3)}%`;

type Line = (name: string, label: string, colour: number, more?: Partial<Curve>) => Curve[];

/** What the stage measures of its own: rewards of both sides in one picture, the others one each. A
 * name that the console has no word for is shown as the engine writes it. */
function ofStage(metrics: Metrics, both: (name: string) => Curve[], curve: Line, texts: Translate): Drawn[] {
  const sides = (key: "reward" | "log_prob"): Curve[] => [
    ...curve(`chosen_${key}`, texts("curves.chosen"), 0),
    ...curve(`rejected_${key}`, texts("curves.rejected"), 1),
    ...curve(`${VALIDATION}chosen_${key}`, texts("curves.validationOf", { name: texts("curves.chosen") }), 0, { points: true }),
    ...curve(`${VALIDATION}rejected_${key}`, texts("curves.validationOf", { name: texts("curves.rejected") }), 1, { points: true }),
  ];
  return [
    { key: "reward_accuracy", title: texts("curves.rewardAccuracy"), format: parts, curves: both("reward_accuracy") },
    { key: "reward_margin", title: texts("curves.margin"), curves: both("reward_margin") },
    { key: "rewards", title: texts("curves.reward"), curves: sides("reward") },
    { key: "kl", title: texts("curves.kl"), curves: both("kl") },
    { key: "log_probs", title: texts("curves.logProb"), curves: sides("log_prob") },
    { key: "token_accuracy", title: texts("curves.accuracy"), format: parts, curves: both("token_accuracy") },
    { key: "nll_loss", title: texts("curves.nll"), curves: both("nll_loss") },
    { key: "entropy", title: texts("curves.entropy"), curves: both("entropy") },
    ...further(metrics).map((name) => ({ key: name, title: spoken(name), curves: both(name) })),
  ];
}

/** What another system names for such a curve, to compare with. */
function guide(metrics: Metrics, texts: Translate): string {
  const known = metrics.references?.throughput ?? [];
  const each = known.map(({ value, num_machines, num_devices }) =>
    texts("curves.reference", { value: count(value), machines: num_machines, devices: num_devices }),
  );
  return each.length > 0 ? `${texts("curves.references")} ${each.join(texts("list.comma"))}` : "";
}

function chartsOf(metrics: Metrics, weight: number, texts: Translate): Drawn[] {
  const curve: Line = (name, label, colour, more = {}) => {
    const found = metrics.series[name];
    if (!found || found.steps.length === 0) return [];
    return [{ name: label, steps: found.steps, values: found.values, colour, ...more }];
  };
  const loss = curve("loss", texts("curves.raw"), 0, { faint: weight > 0 });
  const smoothed = loss.map((each) => ({
    ...each,
    name: texts("curves.smoothed"),
    values: smooth(each.values, weight),
    faint: false,
  }));
  const both = (name: string) => [
    ...curve(name, texts("curves.training"), 0),
    ...curve(`${VALIDATION}${name}`, texts("curves.validation"), 1, { points: true }),
  ];
  const drawn: Drawn[] = [
    {
      key: "loss",
      title: texts("curves.loss"),
      curves: [
        ...loss,
        ...(weight > 0 ? smoothed : []),
        ...curve("validation_loss", texts("curves.validation"), 1, { points: true }),
      ],
    },
    ...ofStage(metrics, both, curve, texts),
    { key: "rate", title: texts("curves.rate"), format: rate, curves: curve("learning_rate", texts("curves.rate"), 2) },
    { key: "norm", title: texts("curves.norm"), curves: curve("grad_norm", texts("curves.norm"), 3) },
    {
      key: "speed",
      title: texts("curves.speed"),
      format: whole,
      curves: curve("throughput", texts("curves.perDevice"), 5),
      about: guide(metrics, texts),
    },
    { key: "memory", title: texts("curves.memory"), format: bytes, curves: curve("memory_bytes", texts("curves.memory"), 6) },
    {
      key: "memoryUse",
      title: texts("curves.memoryUse"),
      format: percentage,
      curves: curve("memory_utilisation", texts("curves.memoryUse"), 6),
    },
    { key: "use", title: texts("curves.use"), format: percentage, curves: curve("utilisation", texts("curves.use"), 4) },
  ];
  return drawn.filter((each) => each.curves.length > 0);
}
