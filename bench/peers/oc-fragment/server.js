/**
 * The data provider; `fragment.mjs` is put beside it when the component is packaged. The template (template.hbs) has no
 * newline at its end, as the fragment has none.
 */
import { fragmentParts, fragmentsMax } from './fragment.mjs'

const prepared = Array.from({ length: fragmentsMax }, (_, n) => fragmentParts(n))

export const data = ({ params, env }, callback) => {
  setTimeout(() => callback(null, prepared[params.n]), env.timerMs)
}
