/** Promote, hold or reject: why, in words, and the differences with their intervals as pictures. */
import { CheckCircleFilled, CloseCircleFilled, InfoCircleOutlined, PauseCircleFilled } from "@ant-design/icons";
import { Statistic, Table, Tag } from "antd";
import type { Contest, Found, Reason } from "../../api/evaluations";
import { count, short } from "../../logic/format";
import { reachOf } from "../../logic/interval";
import { growth, intervalText, scoreValue, signed } from "../../logic/scores";
import { Interval } from "../../parts/interval";
import { Nothing } from "../../parts/page";
import { translateWord, useTexts } from "../../texts/language";

const SIGNS = {
  promote: <CheckCircleFilled />,
  hold: <PauseCircleFilled />,
  reject: <CloseCircleFilled />,
};

export function Verdict({ found }: { found: Found }) {
  const texts = useTexts();
  const verdict = found.verdict ?? "hold";
  return (
    <div className="stack">
      <section className={`verdict ${verdict}`} aria-label={texts("evaluate.verdict")}>
        <span className="sign">{SIGNS[verdict]}</span>
        <div>
          <h2>{texts(`decision.${verdict}`)}</h2>
          <p>{texts(`decision.${verdict}.about`)}</p>
        </div>
      </section>
      <Reasons reasons={found.reasons ?? []} />
      <Contests found={found} />
      <div className="columns">
        <Statistic title={texts("verdict.length")} value={growth(found.length_growth)} />
        <Statistic title={texts("verdict.latency")} value={growth(found.latency_growth)} />
        <Statistic title={texts("verdict.rows")} value={count(found.rows)} />
      </div>
      <p className="quiet">{texts("verdict.how", { count: count(found.resamples ?? 0) })}</p>
    </div>
  );
}

const WEIGHTS: Record<Reason["weight"], string> = { for: "success", hold: "warning", reject: "error", note: "default" };

function Reasons({ reasons }: { reasons: Reason[] }) {
  return (
    <ul className="plain">
      {reasons.map((each) => (
        <li key={each.code} className="reason">
          <Tag color={WEIGHTS[each.weight]}>{translateWord("weight", each.weight)}</Tag>
          <span className="any">{each.text}</span>
        </li>
      ))}
    </ul>
  );
}

interface Line extends Contest {
  name: string;
  reach: number;
}

/** The deciding score first; scores of one unit share a scale. */
function linesOf(found: Found): Line[] {
  const all = Object.entries(found.scores).filter(([, each]) => each.difference);
  const reach = (unit: string) => reachOf(all.flatMap(([, each]) => (each.unit === unit && each.difference ? [each.difference] : [])));
  return all
    .map(([name, each]) => ({ ...each, name, reach: reach(each.unit) }))
    .sort((one, other) => Number(other.name === found.primary) - Number(one.name === found.primary));
}

function Contests({ found }: { found: Found }) {
  const texts = useTexts();
  return (
    <Table<Line>
      rowKey="name"
      size="middle"
      pagination={false}
      scroll={{ x: 900 }}
      dataSource={linesOf(found)}
      columns={[
        {
          title: texts("verdict.score"),
          dataIndex: "name",
          width: 190,
          render: (name: string) => (
            <>
              {translateWord("score", name)} {name === found.primary && <Tag color="processing">{texts("verdict.decides")}</Tag>}
            </>
          ),
        },
        { title: texts("verdict.base"), key: "base", align: "end", width: 90, className: "numbers", render: (_, each) => scoreValue(each.base?.value, each.unit) },
        { title: texts("verdict.tuned"), key: "tuned", align: "end", width: 90, className: "numbers", render: (_, each) => scoreValue(each.tuned?.value, each.unit) },
        { title: texts("verdict.difference"), key: "difference", align: "end", width: 100, className: "numbers", render: (_, each) => signed(each.difference?.value, each.unit) },
        {
          title: (
            <span className="ends">
              <span>{texts("verdict.worse")}</span>
              <span>{texts("verdict.better")}</span>
            </span>
          ),
          key: "picture",
          width: 260,
          render: (_, each) =>
            each.difference && (
              <>
                <Interval estimate={each.difference} better={each.better} unit={each.unit} reach={each.reach} />
                <div className="quiet numbers" style={{ textAlign: "center", fontSize: 12 }}>
                  {intervalText(each.difference, each.unit)}
                </div>
              </>
            ),
        },
        {
          title: texts("verdict.wonLost"),
          key: "won",
          width: 150,
          className: "numbers",
          render: (_, each) => (
            <>
              {count(each.wins?.length ?? 0)} · {count(each.ties ?? 0)} · {count(each.losses?.length ?? 0)}
              {each.sign_test_p !== undefined && (
                <div className="quiet" style={{ fontSize: 12 }}>
                  p {each.sign_test_p < 0.001 ? "< 0.001" : `= ${short(each.sign_test_p, 2)}`}
                </div>
              )}
            </>
          ),
        },
      ]}
    />
  );
}

/** Of one model without another beside it. */
export function Scores({ found }: { found: Found }) {
  const texts = useTexts();
  return (
    <Table
      rowKey="name"
      size="middle"
      pagination={false}
      scroll={{ x: 480 }}
      dataSource={Object.entries(found.scores).map(([name, each]) => ({ name, ...each }))}
      columns={[
        {
          title: texts("verdict.score"),
          dataIndex: "name",
          render: (name: string) => (
            <>
              {translateWord("score", name)} {name === found.primary && <Tag color="processing">{texts("verdict.primary")}</Tag>}
            </>
          ),
        },
        { title: texts("verdict.value"), key: "value", align: "end", className: "numbers", render: (_, each) => scoreValue(each.value, each.unit) },
        { title: texts("unit.rows"), dataIndex: "rows", align: "end", className: "numbers", render: (rows: number) => count(rows) },
      ]}
    />
  );
}

/** General questions before and after. */
export function Forgetting({ found }: { found: Found }) {
  const texts = useTexts();
  const general = found.general;
  if (!general?.difference) return <Nothing text={texts("forgetting.none")} />;
  const reasons = (found.reasons ?? []).filter((each) => /forg[eo]t|probed|forget/.test(each.code));
  return (
    <div className="stack">
      <p className="quiet" style={{ margin: 0 }}>
        <InfoCircleOutlined /> {texts("forgetting.about", { rows: count(general.rows), data: general.data })}
      </p>
      <Reasons reasons={reasons} />
      <div className="columns">
        <Statistic title={texts("verdict.base")} value={scoreValue(general.base?.value, general.unit)} />
        <Statistic title={texts("verdict.tuned")} value={scoreValue(general.tuned?.value, general.unit)} />
        <Statistic title={texts("verdict.difference")} value={signed(general.difference.value, general.unit)} />
      </div>
      <div style={{ maxWidth: 480 }}>
        <div className="ends quiet">
          <span>{texts("verdict.worse")}</span>
          <span>{texts("verdict.better")}</span>
        </div>
        <Interval estimate={general.difference} better={general.better} unit={general.unit} reach={reachOf([general.difference])} />
        <div className="quiet numbers" style={{ textAlign: "center" }}>
          {intervalText(general.difference, general.unit)}
        </div>
      </div>
      <p className="quiet numbers">
        {texts("forgetting.counts", {
          lost: count(general.losses?.length ?? 0),
          won: count(general.wins?.length ?? 0),
          same: count(general.ties ?? 0),
        })}
      </p>
    </div>
  );
}
