/**
 * The baseline: logistic regression over standardised features, by ml-logistic-regression. It is there to show whether the features carry
 * signal, not to be good. Deterministic: negatives are thinned by a seed.
 */
import LogisticRegression from 'ml-logistic-regression'
import { Matrix } from 'ml-matrix'
import { Draw } from '../replay/draw.js'

/** Rows of features; NaN is null. */
export type Rows = readonly Float64Array[]

export interface Model {
  /** One a row: the higher, the more like a machine that fails soon. */
  score(rows: Rows): Float64Array
}

/** Negatives per positive that are trained with: failures are rare, and the descent goes over all rows at every step. */
const NEGATIVES_PER_POSITIVE = 8

/** Training examples at most. */
const EXAMPLES_MAX = 20_000

const STEPS = 300

/** Steps are as long as the mean gradient; features are standardised, so this is far from where it would diverge. */
const STEP_LENGTH = 1

/** Standard deviations beyond which a feature is clipped, so that a single outlier does not rule the fit. */
const CLIP = 5

/** `labels` are 0 or 1, one a row; there must be both. */
export function fitModel(rows: Rows, labels: ArrayLike<number>, seed: number): Model {
  const chosen = thin(labels, seed)
  const scale = scaleOf(chosen.map(i => rows[i]))
  const target = Matrix.columnVector(chosen.map(i => labels[i]))
  const regression = new LogisticRegression({ numSteps: STEPS, learningRate: STEP_LENGTH / chosen.length })
  regression.train(
    matrixOf(
      chosen.map(i => rows[i]),
      scale
    ),
    target
  )
  const [notNegative] = regression.classifiers
  return { score: others => Float64Array.from(notNegative.testScores(matrixOf(others, scale))) }
}

/** All positives, and negatives drawn from the seed. */
function thin(labels: ArrayLike<number>, seed: number): number[] {
  const all = Array.from({ length: labels.length }, (_, i) => i)
  const draw = new Draw(seed)
  const positives = draw.shuffle(all.filter(i => labels[i] === 1)).slice(0, Math.ceil(EXAMPLES_MAX / (1 + NEGATIVES_PER_POSITIVE)))
  const negatives = draw.shuffle(all.filter(i => labels[i] !== 1)).slice(0, positives.length * NEGATIVES_PER_POSITIVE)
  return [...positives, ...negatives].sort((a, b) => a - b)
}

interface Scale {
  readonly mean: number
  readonly deviation: number
}

function scaleOf(rows: Rows): Scale[] {
  return Array.from(rows[0], (_, f) => {
    const values = rows.map(row => row[f]).filter(value => !Number.isNaN(value))
    if (values.length === 0) return { mean: 0, deviation: 1 }
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    return { mean, deviation: Math.sqrt(variance) || 1 }
  })
}

/** Standardised, null as the mean, and a constant column for the intercept. */
function matrixOf(rows: Rows, scale: readonly Scale[]): Matrix {
  const matrix = new Matrix(rows.length, scale.length + 1)
  for (const [r, row] of rows.entries()) {
    for (const [f, { mean, deviation }] of scale.entries()) {
      const value = Number.isNaN(row[f]) ? 0 : (row[f] - mean) / deviation
      matrix.set(r, f, Math.max(-CLIP, Math.min(CLIP, value)))
    }
    matrix.set(r, scale.length, 1)
  }
  return matrix
}
