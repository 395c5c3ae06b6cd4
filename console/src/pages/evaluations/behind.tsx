/** From wrong answers to the training rows behind them: look, change rows, train on from the result. */
import { EditOutlined, ExperimentOutlined } from "@ant-design/icons";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Card, Checkbox, Input, Skeleton, Tag } from "antd";
import { useState } from "react";
import { Link, useNavigate } from "react-router";
import { api, ask, type Schemas } from "../../api/client";
import type { Evaluation } from "../../api/evaluations";
import { keys } from "../../api/keys";
import type { Task } from "../../api/tasks";
import { useSession } from "../../app/session";
import { count, percent, short } from "../../logic/format";
import { addressOf, changesOf, keyOf, withEdit, type Edits } from "../../logic/mends";
import { ErrorBox } from "../../parts/error";
import { Nothing } from "../../parts/page";
import { TaskProgress } from "../../parts/task";
import { translateWord, useTexts } from "../../texts/language";
import { Said } from "./rows";

type Trace = Schemas["TraceRead"];
type Traced = Schemas["TracedRead"];
type Neighbour = Schemas["NeighbourRead"];

export function Behind({ evaluation }: { evaluation: Evaluation }) {
  const texts = useTexts();
  const { mayWrite } = useSession();
  const [edits, setEdits] = useState<Edits>({});
  const trace = useTrace(evaluation.id);
  if (trace.isLoading) return <Skeleton active />;
  return (
    <div className="stack">
      <div className="quiet">{texts("behind.about")}</div>
      <ErrorBox error={trace.error} again={() => void trace.refetch()} />
      {mayWrite && <Look evaluation={evaluation} isAgain={Boolean(trace.data)} onFound={() => setEdits({})} />}
      {trace.data && <Told trace={trace.data} edits={edits} onEdit={mayWrite ? setEdits : undefined} />}
      {trace.data && mayWrite && <TrainOn evaluation={evaluation} edits={edits} />}
    </div>
  );
}

function useTrace(id: string) {
  return useQuery({
    queryKey: [...keys.evaluation(id), "trace"],
    queryFn: () => ask(api.GET("/api/v1/evaluations/{evaluation_id}/trace", { params: { path: { evaluation_id: id } } })),
    staleTime: Infinity,
  });
}

function Look({ evaluation, isAgain, onFound }: { evaluation: Evaluation; isAgain: boolean; onFound: () => void }) {
  const texts = useTexts();
  const client = useQueryClient();
  const [measure, setMeasure] = useState(false);
  const begin = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/evaluations/{evaluation_id}/trace", {
          params: { path: { evaluation_id: evaluation.id } },
          body: { failures: 20, neighbours: 3, measure },
        }),
      ),
  });
  const done = () => {
    onFound();
    void client.invalidateQueries({ queryKey: [...keys.evaluation(evaluation.id), "trace"] });
  };
  return (
    <div className="stack" style={{ gap: 8 }}>
      <div className="row">
        <Button type={isAgain ? "default" : "primary"} loading={begin.isPending} onClick={() => begin.mutate()}>
          {texts(isAgain ? "behind.again" : "behind.look")}
        </Button>
        <Checkbox checked={measure} onChange={(event) => setMeasure(event.target.checked)}>
          {texts("behind.measure")}
        </Checkbox>
      </div>
      <ErrorBox error={begin.error} />
      {begin.data && <TaskProgress key={begin.data.id} id={begin.data.id} onDone={done} />}
    </div>
  );
}

interface ToldProps {
  trace: Trace;
  edits: Edits;
  onEdit?: (edits: Edits) => void;
}

function Told({ trace, edits, onEdit }: ToldProps) {
  const texts = useTexts();
  if (trace.failed === 0) return <Nothing text={texts("behind.none")} />;
  const score = translateWord("score", trace.score);
  const limit = short(trace.limit, 3);
  return (
    <>
      <div className="quiet">
        {texts(trace.lower_is_better ? "behind.above" : "behind.below", {
          failed: count(trace.failed),
          rows: count(trace.rows),
          score,
          limit,
        })}{" "}
        {texts("behind.learned", { count: count(trace.training_rows) })}
      </div>
      {trace.traced.map((each) => (
        <FailureCard key={each.failure.id} traced={each} edits={edits} onEdit={onEdit} />
      ))}
    </>
  );
}

function FailureCard({ traced, edits, onEdit }: { traced: Traced; edits: Edits; onEdit?: (edits: Edits) => void }) {
  const texts = useTexts();
  const { failure, neighbours } = traced;
  return (
    <Card size="small" title={<span className="quiet numbers">{texts("evaluation.row", { row: failure.id })}</span>}>
      <div className="stack" style={{ gap: 12 }}>
        <Said title={translateWord("role", "user")} text={failure.question} />
        <div className="beside">
          <Said title={texts("evaluation.reference")} text={failure.reference} />
          <Said title={texts("behind.said")} text={failure.prediction || texts("playground.nothing")} />
        </div>
        <strong>{texts(neighbours.length ? "behind.rows" : "behind.unlike")}</strong>
        {neighbours.map((each) => (
          <RowOf key={keyOf(each.place)} neighbour={each} edits={edits} onEdit={onEdit} />
        ))}
      </div>
    </Card>
  );
}

function RowOf({ neighbour, edits, onEdit }: { neighbour: Neighbour; edits: Edits; onEdit?: (edits: Edits) => void }) {
  const texts = useTexts();
  const { place } = neighbour;
  const key = keyOf(place);
  const edit = edits[key];
  const isRemoved = edit !== undefined && edit.answer === null;
  const address = addressOf(place);
  const name = place.dataset_id ? `${place.dataset}@${place.version}, ${texts("evaluation.row", { row: place.row })}` : `${place.dataset}, ${place.file}: ${place.row}`;
  const set = (answer: string | null | undefined) => {
    onEdit?.(withEdit(edits, place, answer));
  };
  return (
    <div className="boxed">
      <div className="row" style={{ justifyContent: "space-between" }}>
        <span>{address ? <Link to={address}>{name}</Link> : name}</span>
        <span className="quiet numbers" style={{ fontSize: 12 }}>
          {texts("behind.alike", {
            question: `${percent(neighbour.question_similarity, 1)} %`,
            answer: `${percent(neighbour.answer_similarity, 1)} %`,
          })}
          {" · "}
          {texts("behind.loss", { before: short(neighbour.loss_before, 3), after: short(neighbour.loss_after, 3) })}
        </span>
      </div>
      <Said title={translateWord("role", "user")} text={neighbour.question} />
      {edit && !isRemoved ? (
        <Input.TextArea
          rows={3}
          aria-label={texts("behind.answer")}
          value={edit.answer ?? ""}
          onChange={(event) => set(event.target.value)}
        />
      ) : (
        <div style={isRemoved ? { textDecoration: "line-through" } : undefined}>
          <Said title={translateWord("role", "assistant")} text={neighbour.answer} />
        </div>
      )}
      {onEdit && place.dataset_id && (
        <div className="row" style={{ marginTop: 8 }}>
          {edit ? (
            <>
              <Tag color={isRemoved ? "error" : "processing"}>{texts(isRemoved ? "behind.removed" : "behind.changed")}</Tag>
              <Button size="small" onClick={() => set(undefined)}>
                {texts("behind.undo")}
              </Button>
            </>
          ) : (
            <>
              <Button size="small" icon={<EditOutlined />} onClick={() => set(neighbour.answer)}>
                {texts("behind.change")}
              </Button>
              <Button size="small" danger onClick={() => set(null)}>
                {texts("action.remove")}
              </Button>
            </>
          )}
        </div>
      )}
    </div>
  );
}

function TrainOn({ evaluation, edits }: { evaluation: Evaluation; edits: Edits }) {
  const texts = useTexts();
  const navigate = useNavigate();
  const { changes, removals } = changesOf(edits);
  const begin = useMutation({
    mutationFn: () =>
      ask(
        api.POST("/api/v1/evaluations/{evaluation_id}/retrain", {
          params: { path: { evaluation_id: evaluation.id } },
          body: { changes, removals },
        }),
      ),
  });
  const done = (task: Task) => {
    const made = (task.result ?? {}) as { job_id?: string };
    if (task.state === "succeeded" && made.job_id) void navigate(`/jobs/${made.job_id}`);
  };
  return (
    <Card size="small" title={texts("behind.on")}>
      <div className="stack" style={{ gap: 12 }}>
        <div>{texts("behind.on.about", { changed: count(changes.length), removed: count(removals.length) })}</div>
        <ErrorBox error={begin.error} />
        {begin.data && <TaskProgress key={begin.data.id} id={begin.data.id} onDone={done} />}
        <div>
          <Button type="primary" icon={<ExperimentOutlined />} loading={begin.isPending} onClick={() => begin.mutate()}>
            {texts("behind.on.go")}
          </Button>
        </div>
      </div>
    </Card>
  );
}
