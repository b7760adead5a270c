/** What we use of ml-logistic-regression, which comes without types. */
declare module 'ml-logistic-regression' {
  import type { Matrix } from 'ml-matrix'

  /** One class against all others, by gradient descent; without an intercept. */
  interface OneClass {
    /** One a row: how probable it is that the row is not of this class. */
    testScores(features: Matrix): number[]
  }

  export default class LogisticRegression {
    constructor(options: { numSteps: number; learningRate: number })
    /** By class. */
    readonly classifiers: OneClass[]
    /** `target` is a column of classes 0, 1, … */
    train(features: Matrix, target: Matrix): void
  }
}
