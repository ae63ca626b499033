import { expect, it } from 'vitest';
import { addTotals, countReport, noTests, totalsLine } from './totals.ts';

const report = (passed: number, failed: number, files: object[] = []) => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: 2,
  numTodoTests: 1,
  testResults: files,
});

it('counts tests, with those to do among the skipped', () => {
  expect(countReport(report(3, 1))).toEqual({ passed: 3, failed: 1, skipped: 3 });
});

it('counts a file that could not be loaded as a failure, and one with failed tests only once', () => {
  const files = [
    { status: 'failed', assertionResults: [] },
    { status: 'failed', assertionResults: [{ status: 'failed' }] },
    { status: 'passed', assertionResults: [{ status: 'passed' }] },
  ];
  expect(countReport(report(1, 1, files)).failed).toBe(2);
});

it('counts a report that cannot be read as a failure', () => {
  expect(countReport({ numPassedTests: 4 })).toEqual({ passed: 0, failed: 1, skipped: 0 });
});

it('sums into one line', () => {
  const totals = addTotals(
    addTotals(noTests, { passed: 3, failed: 0, skipped: 1 }),
    countReport(report(2, 0)),
  );
  expect(totalsLine(totals)).toBe('5 passed, 0 failed, 4 skipped');
});
