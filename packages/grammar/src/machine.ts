import { RequestError } from '@baton/errors';
import { stepRange } from './automaton/automaton.ts';
import type { Expression } from './expression.ts';
import type { TokenMask } from './token-mask.ts';

/** Where the walk stands in one expression, and where it goes on after it: a stack, whose lower part others share. */
interface Frame {
  readonly id: number;
  readonly expression: Expression;
  /** The byte, automaton state or part that comes next; of a `repeat`, how many there have been. */
  readonly at: number;
  readonly parent: Frame | null;
  /** The frames above it that were made so far, so that equal stacks are one object. */
  readonly children: Map<number, Frame>;
}

/** All places in a grammar that a text may have led to. Equal ones are one object, until there are too many to keep. */
export interface MachineState {
  /** Each in an expression of bytes or an automaton. */
  readonly frames: readonly Frame[];
  /** Whether the text may end here. */
  readonly accepts: boolean;
  /** Where each byte leads, as far as it was asked for. */
  readonly next: (MachineState | null | undefined)[];
  /** The tokens that may come next, once asked for. */
  mask: TokenMask | null;
}

/** States kept to be found again; each takes some kilobytes. */
const maxStates = 2048;
/** Places that one text may lead to. */
export const maxFrames = 1024;

/**
 * Walks a grammar byte by byte: a pushdown automaton that takes all ways at once and remembers each state it was in, so that
 * common ones cost a look-up. The state after a text depends on the text alone.
 */
export class Machine {
  readonly #grammar: Expression;
  readonly #expressionIds = new Map<Expression, number>();
  #frameCount = 0;
  #states = new Map<string, MachineState>();
  #start: MachineState;

  constructor(grammar: Expression) {
    this.#grammar = grammar;
    this.#start = this.#begin();
  }

  /** The state after the empty text. */
  get start(): MachineState {
    return this.#start;
  }

  /** Null where no text of the grammar goes on with `byte`. Throws `RequestError` for a grammar that is too ambiguous. */
  step(state: MachineState, byte: number): MachineState | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const walk = new Walk();
    for (const frame of state.frames) this.#advance(frame, byte, walk);
    this.#enterAll(walk);
    const next = walk.frames.size === 0 && !walk.accepts ? null : this.#intern(walk);
    // Whatever the frames do not tell apart leads to the same.
    for (let same = walk.from; same <= walk.to; same++) state.next[same] = next;
    return next;
  }

  #advance({ expression, at, parent }: Frame, byte: number, walk: Walk): void {
    if (parent === null) return;
    if (expression.kind === 'bytes') {
      const right = expression.bytes[at] as number;
      if (right < byte) walk.narrow(right + 1, 255);
      else walk.narrow(right > byte ? 0 : byte, right > byte ? right - 1 : byte);
      if (right !== byte) return;
      if (at + 1 < expression.bytes.length) walk.frames.add(this.#frame(expression, at + 1, parent));
      else this.#leave(parent, walk);
    } else if (expression.kind === 'automaton') {
      const { from, to, target } = stepRange(expression.automaton, at, byte);
      walk.narrow(from, to);
      if (target !== null) this.#enterAutomaton(expression, target, parent, walk);
    }
  }

  /** A list and not the stack, which a long chain of references or of optional properties would overflow. */
  #enterAll(walk: Walk): void {
    for (let next = walk.toEnter.pop(); next; next = walk.toEnter.pop()) this.#enter(...next, walk);
  }

  #enter(expression: Expression, parent: Frame, walk: Walk): void {
    switch (expression.kind) {
      case 'bytes':
        walk.frames.add(this.#frame(expression, 0, parent));
        break;
      case 'automaton':
        this.#enterAutomaton(expression, 0, parent, walk);
        break;
      case 'sequence':
        this.#enterPart(expression, 0, parent, walk);
        break;
      case 'choice':
        for (const option of expression.options) walk.toEnter.push([option, parent]);
        break;
      case 'repeat':
        this.#enterRepeat(expression, 0, parent, walk);
        break;
      case 'reference':
        // Met twice before a byte, it would be met for ever, and add nothing.
        if (expression.target && walk.isNew(expression, parent)) {
          walk.toEnter.push([expression.target, parent]);
        }
    }
  }

  /** What comes after the expression that `frame` waits for. */
  #leave({ expression, at, parent }: Frame, walk: Walk): void {
    if (parent === null) walk.accepts = true;
    else if (expression.kind === 'sequence') this.#enterPart(expression, at, parent, walk);
    else if (expression.kind === 'repeat') this.#enterRepeat(expression, at, parent, walk);
  }

  #enterAutomaton(expression: Of<'automaton'>, at: number, parent: Frame, walk: Walk): void {
    const state = expression.automaton.states[at];
    if (state && state.edges.length > 0) walk.frames.add(this.#frame(expression, at, parent));
    if (state?.accepts) this.#leave(parent, walk);
  }

  #enterPart(expression: Of<'sequence'>, at: number, parent: Frame, walk: Walk): void {
    const part = expression.parts[at];
    if (!part) this.#leave(parent, walk);
    // Nothing comes after the last part: the stack does not grow with a list's length.
    else if (at + 1 === expression.parts.length) this.#enter(part, parent, walk);
    else this.#enter(part, this.#frame(expression, at + 1, parent), walk);
  }

  #enterRepeat(expression: Of<'repeat'>, count: number, parent: Frame, walk: Walk): void {
    const { part, min, max } = expression;
    if (count >= min) this.#leave(parent, walk);
    if (count >= max) return;
    const next = max === Number.POSITIVE_INFINITY ? Math.min(count + 1, min) : count + 1;
    this.#enter(part, next === max ? parent : this.#frame(expression, next, parent), walk);
  }

  #frame(expression: Expression, at: number, parent: Frame): Frame {
    let expressionId = this.#expressionIds.get(expression);
    if (expressionId === undefined) {
      expressionId = this.#expressionIds.size;
      this.#expressionIds.set(expression, expressionId);
    }
    const key = expressionId * 2 ** 24 + at;
    let frame = parent.children.get(key);
    if (!frame) {
      frame = { id: this.#frameCount++, expression, at, parent, children: new Map() };
      parent.children.set(key, frame);
    }
    return frame;
  }

  #intern({ frames, accepts }: Walk): MachineState {
    if (frames.size > maxFrames) {
      throw new RequestError(
        'invalid_value',
        'the schema is too ambiguous: too many of its parts may be meant',
      );
    }
    const sorted = [...frames].sort((a, b) => a.id - b.id);
    const key = `${accepts ? '+' : ''}${sorted.map(({ id }) => id).join()}`;
    let state = this.#states.get(key);
    if (!state) {
      if (this.#states.size >= maxStates) this.#forget();
      state = { frames: sorted, accepts, next: new Array(256), mask: null };
      this.#states.set(key, state);
    }
    return state;
  }

  #begin(): MachineState {
    const expression = this.#grammar;
    const root = { id: this.#frameCount++, expression, at: 0, parent: null, children: new Map() };
    const walk = new Walk();
    this.#enter(expression, root, walk);
    this.#enterAll(walk);
    return this.#intern(walk);
  }

  /** Texts that are under way keep what they need; all else is made anew. */
  #forget(): void {
    this.#states = new Map();
    this.#start = this.#begin();
  }
}

/**
 * Walks the first byte of each text of `grammar`, and gives the number of places it came to. Throws `RequestError` where they
 * are too many at once.
 */
export function walkFirstByte(grammar: Expression): number {
  const machine = new Machine(grammar);
  const states = new Set([machine.start]);
  for (let byte = 0; byte < 256; byte++) {
    const next = machine.step(machine.start, byte);
    if (next) states.add(next);
  }
  return [...states].reduce((places, { frames }) => places + frames.length, 0);
}

type Of<K extends Expression['kind']> = Extract<Expression, { kind: K }>;

/** What one byte leads to, while it is being found out. */
class Walk {
  readonly frames = new Set<Frame>();
  /** What is still to be entered, and where the walk goes on after it. */
  readonly toEnter: [Expression, Frame][] = [];
  accepts = false;
  /** The bytes that lead to the same. */
  from = 0;
  to = 255;
  readonly #entered = new Map<Expression, Set<Frame>>();

  narrow(from: number, to: number): void {
    this.from = Math.max(this.from, from);
    this.to = Math.min(this.to, to);
  }

  isNew(expression: Expression, parent: Frame): boolean {
    const parents = this.#entered.get(expression) ?? new Set();
    if (parents.has(parent)) return false;
    this.#entered.set(expression, parents.add(parent));
    return true;
  }
}
