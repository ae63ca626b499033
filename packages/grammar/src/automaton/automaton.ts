import type { Regular } from './regular.ts';

/** Where a byte from `from` to `to` leads. */
export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly target: number;
}

/**
 * A deterministic automaton over bytes that starts in state 0. From each state an accepting one can be reached, so it has
 * no way into a dead end; it has no state at all where it accepts nothing.
 */
export interface Automaton {
  /** Edges in order of their bytes. */
  readonly states: readonly { readonly edges: readonly Edge[]; readonly accepts: boolean }[];
}

/** A language, or several together, that need more work than they may take. */
export class TooLargeError extends Error {}

/**
 * How much making automata may take, in states visited: a bound on time and memory that is the same on every machine, since
 * what one accepts another must not refuse.
 */
export class Budget {
  #left: number;

  constructor(states = 1_000_000) {
    this.#left = states;
  }

  /** Throws `TooLargeError` where nothing is left. */
  spend(states: number): void {
    this.#left -= states;
    if (this.#left < 0) throw new TooLargeError();
  }
}

/** Where `byte` leads from a state, and the bytes around it that lead to the same. */
export function stepRange({ states }: Automaton, state: number, byte: number): Step {
  let from = 0;
  for (const edge of states[state]?.edges ?? []) {
    if (byte < edge.from) return { from, to: edge.from - 1, target: null };
    if (byte <= edge.to) return edge;
    from = edge.to + 1;
  }
  return { from, to: 255, target: null };
}

export interface Step {
  readonly from: number;
  readonly to: number;
  readonly target: number | null;
}

export function accepts(automaton: Automaton, text: string): boolean {
  let state: number | null = automaton.states.length > 0 ? 0 : null;
  for (const byte of utf8.encode(text)) if (state !== null) state = stepRange(automaton, state, byte).target;
  return state !== null && (automaton.states[state]?.accepts ?? false);
}

const utf8 = new TextEncoder();

/** Thompson's construction and then the subsets. Throws `TooLargeError`. */
export function automatonOf(language: Regular, budget = new Budget()): Automaton {
  const nfa = new Nondeterministic(budget);
  const end = nfa.add(language, nfa.state());
  return explore<readonly number[]>(nfa.closure([0]), budget, {
    key: (set) => set.join(),
    accepts: (set) => set.includes(end),
    edges: (set) => {
      const leaving = set.flatMap((state) => nfa.bytes[state] ?? []);
      return pieces(leaving).map(({ from, to, targets }) => ({ from, to, next: nfa.closure(targets) }));
    },
  });
}

/** What both accept. Throws `TooLargeError`. */
export function intersection(a: Automaton, b: Automaton, budget = new Budget()): Automaton {
  return product(a, b, budget, (inA, inB) => inA && inB);
}

/** What `a` accepts and `b` does not. Throws `TooLargeError`. */
export function difference(a: Automaton, b: Automaton, budget = new Budget()): Automaton {
  return product(a, b, budget, (inA, inB) => inA && !inB);
}

/** Both side by side; null is where `b` cannot follow any more. */
function product(
  a: Automaton,
  b: Automaton,
  budget: Budget,
  accepts: (inA: boolean, inB: boolean) => boolean,
): Automaton {
  type Pair = readonly [number, number | null];
  if (a.states.length === 0) return a;
  return explore<Pair>([0, b.states.length > 0 ? 0 : null], budget, {
    key: (pair) => pair.join(),
    accepts: ([x, y]) =>
      accepts(a.states[x]?.accepts ?? false, y !== null && (b.states[y]?.accepts ?? false)),
    edges: ([x, y]) => {
      const edgesOfB = y === null ? [] : (b.states[y]?.edges ?? []);
      return (a.states[x]?.edges ?? []).flatMap((edge) => {
        const cuts = [edge, ...edgesOfB.flatMap((other) => overlap(edge, other))];
        return pieces(cuts).map(({ from, to }) => {
          const other = edgesOfB.find((candidate) => candidate.from <= from && candidate.to >= to);
          return { from, to, next: [edge.target, other?.target ?? null] as const };
        });
      });
    },
  });
}

interface Exploration<State> {
  key(state: State): string;
  accepts(state: State): boolean;
  edges(state: State): readonly { readonly from: number; readonly to: number; readonly next: State }[];
}

/** All that can be reached from `start`, without what leads nowhere. */
function explore<State>(
  start: State,
  budget: Budget,
  { key, accepts, edges }: Exploration<State>,
): Automaton {
  const numbers = new Map([[key(start), 0]]);
  const found = [start];
  const states: { edges: Edge[]; accepts: boolean }[] = [];
  for (let at = 0; at < found.length; at++) {
    const state = found[at] as State;
    const made: Edge[] = [];
    for (const { from, to, next } of edges(state)) {
      const name = key(next);
      const target = numbers.get(name) ?? found.push(next) - 1;
      numbers.set(name, target);
      const last = made.at(-1);
      if (last?.target === target && last.to === from - 1) made[made.length - 1] = { ...last, to };
      else made.push({ from, to, target });
    }
    // A state with its edges is worth many that were merely visited.
    budget.spend(10 + 5 * made.length);
    states.push({ edges: made, accepts: accepts(state) });
  }
  return trimmed(states);
}

/** Without the states from which no accepting one can be reached. */
function trimmed(states: Automaton['states']): Automaton {
  const sources = states.map((): number[] => []);
  for (const [from, { edges }] of states.entries()) {
    for (const { target } of edges) sources[target]?.push(from);
  }
  const alive = new Set([...states.keys()].filter((state) => states[state]?.accepts));
  for (const state of alive) for (const source of sources[state] ?? []) alive.add(source);
  if (!alive.has(0)) return { states: [] };
  const numbers = new Map([...alive].sort((a, b) => a - b).map((state, number) => [state, number]));
  return {
    states: [...numbers.keys()].map((state) => ({
      accepts: states[state]?.accepts ?? false,
      edges: (states[state]?.edges ?? []).flatMap(({ from, to, target }) => {
        const number = numbers.get(target);
        return number === undefined ? [] : [{ from, to, target: number }];
      }),
    })),
  };
}

/** The ranges cut where any of them begins or ends, in order, each with the targets of all that hold it. */
function pieces(edges: readonly Edge[]): { from: number; to: number; targets: number[] }[] {
  const cuts = [...new Set(edges.flatMap(({ from, to }) => [from, to + 1]))].sort((a, b) => a - b);
  return cuts.flatMap((from, index) => {
    const to = (cuts[index + 1] ?? 0) - 1;
    const targets = edges.filter((edge) => edge.from <= from && edge.to >= to).map(({ target }) => target);
    return targets.length === 0 || to < from ? [] : [{ from, to, targets }];
  });
}

function overlap(a: Edge, b: Edge): Edge[] {
  const [from, to] = [Math.max(a.from, b.from), Math.min(a.to, b.to)];
  return from <= to ? [{ from, to, target: a.target }] : [];
}

class Nondeterministic {
  readonly bytes: Edge[][] = [];
  readonly #silent: number[][] = [];
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  state(): number {
    this.#budget.spend(5);
    this.#silent.push([]);
    return this.bytes.push([]) - 1;
  }

  /** Adds what matches `language` from state `from`, and gives the state it ends in. */
  add(language: Regular, from: number): number {
    switch (language.kind) {
      case 'byte': {
        const target = this.state();
        this.bytes[from]?.push({ from: language.from, to: language.to, target });
        return target;
      }
      case 'automaton':
        return this.#addAutomaton(language.automaton, from);
      case 'sequence':
        return language.parts.reduce((at, part) => this.add(part, at), from);
      case 'choice': {
        const ends = language.options.map((option) => this.add(option, this.#after(from)));
        const end = this.state();
        for (const each of ends) this.#silent[each]?.push(end);
        return end;
      }
      case 'repeat':
        return this.#addRepeat(language, from);
    }
  }

  #addAutomaton({ states }: Automaton, from: number): number {
    const copies = states.map(() => this.state());
    const end = this.state();
    this.#silent[from]?.push(...copies.slice(0, 1));
    for (const [index, { edges, accepts }] of states.entries()) {
      const copy = copies[index] as number;
      for (const edge of edges) this.bytes[copy]?.push({ ...edge, target: copies[edge.target] as number });
      if (accepts) this.#silent[copy]?.push(end);
    }
    return end;
  }

  #addRepeat({ part, min, max }: Extract<Regular, { kind: 'repeat' }>, from: number): number {
    let at = from;
    for (let n = 0; n < min; n++) {
      const next = this.add(part, at);
      // Nothing was added, nor ever will be.
      if (next === at) break;
      at = next;
    }
    const end = this.state();
    if (max === Number.POSITIVE_INFINITY) {
      const loop = this.#after(at);
      this.#silent[this.add(part, loop)]?.push(loop);
      this.#silent[loop]?.push(end);
      return end;
    }
    for (let n = min; n < max; n++) {
      this.#silent[at]?.push(end);
      const next = this.add(part, at);
      if (next === at) break;
      at = next;
    }
    this.#silent[at]?.push(end);
    return end;
  }

  #after(state: number): number {
    const next = this.state();
    this.#silent[state]?.push(next);
    return next;
  }

  /** These states and those that can be reached from them without a byte, in order. */
  closure(states: readonly number[]): number[] {
    const reached = new Set(states);
    for (const state of reached) for (const next of this.#silent[state] ?? []) reached.add(next);
    this.#budget.spend(reached.size);
    return [...reached].sort((a, b) => a - b);
  }
}
