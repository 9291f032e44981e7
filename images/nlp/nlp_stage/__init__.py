"""nlp.enrich: what a transcript is about. Entities, key phrases and sentiment."""
