import type { Expression } from './expression.ts';

/**
 * Takes out of a grammar what no finite text matches, so that whatever the walk gets into it can also get out of. False where
 * nothing is left.
 */
export function prune(root: Expression): boolean {
  const all = reachable(root);
  const finite = new Set<Expression>();
  for (let before = -1; before < finite.size; ) {
    before = finite.size;
    // From the inside out, as far as there is an inside.
    for (const expression of all.toReversed()) if (hasFiniteText(expression, finite)) finite.add(expression);
  }
  for (const expression of all) {
    if (expression.kind === 'choice') {
      expression.options = expression.options.filter((option) => finite.has(option));
    }
    if (expression.kind === 'repeat' && !finite.has(expression.part)) expression.max = 0;
  }
  return finite.has(root);
}

function hasFiniteText(expression: Expression, finite: ReadonlySet<Expression>): boolean {
  switch (expression.kind) {
    case 'bytes':
      return true;
    case 'automaton':
      return expression.automaton.states.length > 0;
    case 'sequence':
      return expression.parts.every((part) => finite.has(part));
    case 'choice':
      return expression.options.some((option) => finite.has(option));
    case 'repeat':
      return expression.min === 0 || finite.has(expression.part);
    case 'reference':
      return expression.target !== null && finite.has(expression.target);
  }
}

function reachable(root: Expression): Expression[] {
  const found = new Set([root]);
  for (const expression of found) {
    switch (expression.kind) {
      case 'sequence':
        for (const part of expression.parts) found.add(part);
        break;
      case 'choice':
        for (const option of expression.options) found.add(option);
        break;
      case 'repeat':
        found.add(expression.part);
        break;
      case 'reference':
        if (expression.target) found.add(expression.target);
    }
  }
  return [...found];
}
