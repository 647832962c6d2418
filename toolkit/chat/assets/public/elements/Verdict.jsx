// Rounding must not turn nearly certain into certain.
const shown = (percent) => (percent > 99.9 ? ">99.9%" : percent < 0.1 ? "<0.1%" : `${percent.toFixed(1)}%`)

const Bars = ({ classes }) => (
  <div className="toolkit-chart">
    {classes.map((each) => (
      <div key={each.name} className="toolkit-chart-row">
        <span className="toolkit-chart-name">{each.name}</span>
        <span className="toolkit-chart-track">
          <span className={`toolkit-fill toolkit-${each.kind}`} style={{ width: `${each.percent}%` }} />
        </span>
        <span className="toolkit-chart-count">{shown(each.percent)}</span>
      </div>
    ))}
  </div>
)

const SharedBar = ({ classes }) => (
  <div>
    <div className="toolkit-bar-names">
      {classes.map((each) => (
        <span key={each.kind} className={`toolkit-name toolkit-${each.kind}`}>
          {each.sign}
          {each.name} <b>{shown(each.percent)}</b>
        </span>
      ))}
    </div>
    <div className="toolkit-bar" role="img" aria-label={classes.map((each) => `${each.name} ${shown(each.percent)}`).join(", ")}>
      {classes.map((each) => (
        <div key={each.kind} className={`toolkit-fill toolkit-${each.kind}`} style={{ width: `${each.percent}%` }} />
      ))}
    </div>
  </div>
)

const Segment = ({ segment }) => (
  <span
    className={segment.kind ? `toolkit-segment toolkit-${segment.kind}${segment.words ? " toolkit-by-word" : ""}` : ""}
    style={{ "--shade": segment.shade || 0 }}
    role="group"
    title={segment.title}
    aria-label={segment.title ? `${segment.text} (${segment.title})` : undefined}
  >
    {segment.words
      ? segment.words.map((each, index) => (
          <span
            key={index}
            className={each.kind ? `toolkit-word toolkit-${each.kind}` : ""}
            style={{ "--shade": each.shade || 0 }}
            title={each.title}
          >
            {each.text}
          </span>
        ))
      : segment.text}
    {"\u2060" /* the word joiner keeps the number on the line of the last word */}
    {segment.push ? <sub className="toolkit-push">{segment.push}</sub> : null}
  </span>
)

const Why = ({ why }) => (
  <details className="toolkit-why" open={why.open}>
    <summary>{why.title}</summary>
    <p className="toolkit-note">{why.note}</p>
    <p className="toolkit-review" data-testid="why">
      {why.segments.map((each, index) => (
        <span key={index}>
          {why.unread && index === why.unreadAfter ? <span className="toolkit-unread">… {why.unread} … </span> : null}
          <Segment segment={each} />{" "}
        </span>
      ))}
      {why.unread && why.unreadAfter >= why.segments.length ? <span className="toolkit-unread">… {why.unread}</span> : null}
    </p>
  </details>
)

const Reasons = ({ why }) => (
  <>
    {why.phrases.length ? (
      <p className="toolkit-phrases" data-testid="phrases">
        {why.phrasesTitle}{" "}
        {why.phrases.map((each, index) => (
          <span key={index} className={`toolkit-phrase toolkit-${each.kind}`} title={each.title}>
            {each.text} <b>{each.push}</b>
          </span>
        ))}
      </p>
    ) : null}
    {why.segments.length ? <Why why={why} /> : <p className="toolkit-note">{why.note}</p>}
  </>
)

export default function Verdict() {
  const { classes, apart, tokens, truncated, withheld, why } = props
  const bars = apart ? <Bars classes={classes} /> : <SharedBar classes={classes} />
  return (
    <div className="toolkit-panel" data-testid="verdict">
      {withheld ? <p className="toolkit-withheld">{withheld.note}</p> : <div className="toolkit-verdict">{bars}</div>}
      <p className="toolkit-note">{tokens}</p>
      {truncated ? <p className="toolkit-note">{truncated}</p> : null}
      {withheld ? (
        <details className="toolkit-why">
          <summary>{withheld.show}</summary>
          {bars}
          <Reasons why={why} />
        </details>
      ) : (
        <Reasons why={why} />
      )}
    </div>
  )
}
