import type { EngineRequest } from '../engine.ts';
import { Sequence, type SequenceContext } from '../sequence.ts';
import type { Running } from './scheduler.ts';
import { StateSchedule } from './state-schedule.ts';

/** One call of `generate`. */
export class Run implements Running {
  readonly id: number;
  readonly arrival: number;
  readonly request: EngineRequest;
  readonly sequence: Sequence;
  readonly tokensAtEnd: number;
  readonly states: StateSchedule;
  /** Whether it has still to come near the owner that it follows. */
  isCatchingUp: boolean;

  constructor(id: number, arrival: number, request: EngineRequest, context: SequenceContext) {
    this.id = id;
    this.arrival = arrival;
    this.request = request;
    this.sequence = new Sequence(request, context);
    this.isCatchingUp = this.sequence.standsBy;
    this.states = new StateSchedule(request.states);
    const { prompt, sampling } = request;
    this.tokensAtEnd = Math.min(prompt.length + sampling.max_tokens, context.model.contextLength);
  }

  get tenant(): string {
    return this.request.tenant;
  }

  get pending(): number {
    return this.sequence.pending;
  }
}
