// Rounding must not turn nearly certain into certain.
const shown = (percent) => (percent > 99.9 ? ">99.9%" : percent < 0.1 ? "<0.1%" : `${percent.toFixed(1)}%`)

export default function Verdict() {
  const { classes, apart, menu, tokens, truncated, why } = props
  return (
    <div className="toolkit-panel" data-testid="verdict">
      {apart ? (
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
      ) : (
        <>
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
        </>
      )}
      <p className="toolkit-note">{tokens}</p>
      {truncated ? <p className="toolkit-note">{truncated}</p> : null}
      {menu ? (
        <select
          className="toolkit-menu"
          aria-label={menu.title}
          defaultValue=""
          onChange={(event) => callAction({ name: "correct", payload: { answer: menu.answer, label: event.target.value } })}
        >
          <option value="" disabled>
            {menu.title}
          </option>
          {menu.labels.map((each) => (
            <option key={each.label} value={each.label}>
              {each.name}
            </option>
          ))}
        </select>
      ) : null}
      <h4>{why.title}</h4>
      <p className="toolkit-note">{why.note}</p>
      {why.segments.length ? (
        <p className="toolkit-review" data-testid="why">
          {why.segments.map((each, index) => (
            <span key={index}>
              {why.unread && index === why.unreadAfter ? <span className="toolkit-unread">… {why.unread} … </span> : null}
              <span
                className={each.kind ? `toolkit-segment toolkit-${each.kind}` : ""}
                style={{ "--shade": each.shade || 0 }}
                role="group"
                title={each.title}
                aria-label={each.title ? `${each.text} (${each.title})` : undefined}
              >
                {each.text}
                {each.push ? <sub className="toolkit-push">{each.push}</sub> : null}
              </span>{" "}
            </span>
          ))}
          {why.unread && why.unreadAfter >= why.segments.length ? <span className="toolkit-unread">… {why.unread}</span> : null}
        </p>
      ) : null}
    </div>
  )
}
